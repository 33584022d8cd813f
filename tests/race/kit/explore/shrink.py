"""From a schedule that breaks an invariant to the shortest, with the fewest switches, that does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .run import Performance, perform
from .scenario import Scenario
from .schedule import SERVER_MOVES, weight

Breaks = Callable[[Sequence[str]], bool]


def breaking(scenario: Scenario, violation: str) -> Breaks:
    """Whether a schedule of ``scenario`` still breaks this invariant when it is run to its rest."""
    return lambda moves: violation in perform(scenario, moves, choose=None).result.violations


def shrink(scenario: Scenario, moves: Sequence[str], violation: str) -> str:
    """Leave out moves as long as ``violation`` stays, then put each end's moves together.

    Returns ``moves`` as they are if they do not break the invariant by themselves.
    """
    breaks = breaking(scenario, violation)
    if not breaks(moves):
        return "".join(moves)
    least = leave_out(list(moves), breaks)
    for candidate in _together(scenario, least):
        if weight(candidate) < weight(least) and breaks(candidate):
            least = candidate
    return "".join(least)


def leave_out(moves: list[str], breaks: Breaks) -> list[str]:
    """Drop halves, quarters, …, single moves, from the end on, until nothing can go."""
    size = max(1, len(moves) // 2)
    while True:
        start, dropped = len(moves) - size, False
        while start > -size:
            shorter = moves[: max(0, start)] + moves[max(0, start) + size :]
            if len(shorter) < len(moves) and breaks(shorter):
                moves, dropped = shorter, True
            start -= size
        if size == 1 and not dropped:
            return moves
        size = max(1, size // 2) if not dropped or size > 1 else 1


def _together(scenario: Scenario, moves: Sequence[str]) -> Iterator[list[str]]:
    """The same moves of each end in the same order, changing ends only where one has to wait."""
    for server_first in (True, False):
        queues = {
            True: [move for move in moves if move in SERVER_MOVES],
            False: [move for move in moves if move not in SERVER_MOVES],
        }
        order: list[str] = []
        turn, waited = server_first, False
        with Performance(scenario) as performance:
            while queues[True] or queues[False]:
                if queues[turn] and queues[turn][0] in performance.possible():
                    order.append(queues[turn].pop(0))
                    performance.move(order[-1])
                    waited = False
                elif waited:
                    break
                else:
                    turn, waited = not turn, True
        if not queues[True] and not queues[False]:
            yield order

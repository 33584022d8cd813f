"""Is there a schedule on which one release breaks what another keeps? Over whole decided spaces.

A run of a patched release stands for a class of equivalent schedules, but on the official release
these need not be equivalent. So the two spaces are walked together, move by move: what the patched
client cannot do is not in its space, and what the official one cannot do is skipped there, as in a
replay. Each pair of ends that some schedule leads to is compared once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .ends import Explorer, State, moves_of

R = TypeVar("R")
Names = frozenset[str]


@dataclass(frozen=True)
class Part:
    """The part of a decided space that leads to results which break something.

    ``moves`` has for each state, numbered from the root on, which move leads to which; ``broken``
    maps those at the end to the names of what they break.
    """

    moves: Sequence[Mapping[str, int]]
    broken: Mapping[int, Names]

    @classmethod
    def of(cls, explorer: Explorer[R], names: Callable[[R], Names]) -> Part:
        """That part of a space which ``explorer`` has decided; one state only if there is none."""
        numbers: dict[State, int | None] = {}
        moves: dict[int, dict[str, int]] = {}
        broken: dict[int, Names] = {}

        def visit(state: State, path: list[str]) -> int | None:
            if state in numbers:
                return numbers[state]
            leads = {}
            possible = moves_of(state)
            for move in possible:
                path.append(move)
                following = visit(explorer.after(state, path), path)
                path.pop()
                if following is not None:
                    leads[move] = following
            found = frozenset() if possible else names(explorer.result(state, path))
            numbers[state] = None
            if leads or found or not path:
                number = numbers[state] = len(moves)
                moves[number] = leads
                if found:
                    broken[number] = found
            return numbers[state]

        visit(explorer.root(), [])
        last = len(moves) - 1  # the root is finished last; count from it
        turned = [{m: last - to for m, to in moves[last - n].items()} for n in range(len(moves))]
        return cls(turned, {last - number: found for number, found in broken.items()})

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Part:
        """Read what :meth:`document` made."""
        broken = {int(number): frozenset(names) for number, names in document["broken"].items()}
        return cls(document["moves"], broken)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        broken = {str(number): sorted(names) for number, names in sorted(self.broken.items())}
        return {"moves": list(self.moves), "broken": broken}

    def schedules(self) -> int:
        """How many schedules break something."""
        counts: dict[int, int] = {}
        for number in reversed(range(len(self.moves))):
            following = sum(counts[to] for to in self.moves[number].values())
            counts[number] = following + (number in self.broken)
        return counts[0]


@dataclass
class Against(Generic[R]):
    """The same schedules on a release of this side.

    Args:
    explorer: of the same scenario, on this side; it makes the runs that are needed.
    names: what a result breaks.
    rest: the result of moves after which this side could go on, but is brought to rest.
    """

    explorer: Explorer[R]
    names: Callable[[R], Names]
    rest: Callable[[Sequence[str]], R]
    added: dict[str, Names] = field(default_factory=dict)
    pairs: int = 0
    _rested: dict[State, R] = field(default_factory=dict)

    def compare(self, part: Part) -> dict[str, Names]:
        """A schedule for each pair of ends that differ, with what only ``part`` breaks."""
        seen: set[tuple[int, State]] = set()

        def visit(number: int, state: State, path: list[str], here: list[str]) -> None:
            if (number, state) in seen:
                return
            seen.add((number, state))
            if theirs := part.broken.get(number):
                self.pairs += 1
                if more := theirs - self.names(self._result(state, here)):
                    self.added["".join(path)] = more
            possible = moves_of(state)
            for move, following in part.moves[number].items():
                path.append(move)
                if move in possible:
                    here.append(move)
                    visit(following, self.explorer.after(state, here), path, here)
                    here.pop()
                else:
                    visit(following, state, path, here)
                path.pop()

        visit(0, self.explorer.root(), [], [])
        return self.added

    def _result(self, state: State, here: Sequence[str]) -> R:
        if not moves_of(state):
            return self.explorer.result(state, here)
        if state not in self._rested:
            self._rested[state] = self.rest(here)
        return self._rested[state]

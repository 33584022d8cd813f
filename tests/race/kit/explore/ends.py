"""Two ends, two links: all interleavings of two deterministic machines, each learnt from real runs.

The client under test and the simulated server share nothing but two FIFO links, so each end is a
function of its own history alone: the moves it made and the messages it took, in order. A run shows
one history of each end. The space is walked over what is known, and a real run is made only to
learn a history that no run has shown, or to get the result of a pair of complete histories.

This is exact. A state is a pair of histories; two schedules that reach the same pair are equivalent
(they differ only in the order of steps of *different* ends that did not depend on each other), so
each pair is visited once, and the number of schedules behind it is counted, not enumerated.
``every_schedule`` enumerates them all the same, to check the claim by running each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")
CLIENT, SERVER = 0, 1
TAKE = ("d", "h")  # how an end takes the next message: delivered to the client, heard by the server


@dataclass(frozen=True)
class Step:
    """One move of one end: which message it took, if any, which it made, and what it can do next.

    ``free`` are the moves that this end can make after the step without taking a message.
    """

    end: int
    move: str
    taken: str | None
    made: tuple[str, ...]
    free: str


@dataclass(frozen=True)
class Run(Generic[R]):
    """A complete run: what each end could do at first, every step, and how it was judged."""

    free: tuple[str, str]
    steps: tuple[Step, ...]
    result: R


# make these moves, go on as you like until none is left, and say what happened
Execute = Callable[[Sequence[str]], Run[R]]


class Nondeterminism(AssertionError):
    """An end did something else after a history that it had been through before."""


class History:
    """A history of one end, as a node of the tree of all histories known."""

    __slots__ = ("free", "made", "next", "taken")

    def __init__(self, free: str, taken: int, made: tuple[str, ...]) -> None:
        self.free = free
        self.taken = taken
        self.made = made
        self.next: dict[tuple[str, str | None], History] = {}


State = tuple[History, History]


@dataclass(frozen=True)
class Space(Generic[R]):
    """What was found: ``schedules`` interleavings, in ``states``, decided by ``results``.

    ``results`` maps one schedule of each class of equivalent ones to its result. ``complete`` is
    false if the bound on runs stopped the walk; ``schedules`` then counts the runs alone.
    """

    schedules: int
    states: int
    results: dict[str, R]
    complete: bool


class OutOfRuns(Exception):
    """The bound on real runs is reached."""


class Explorer(Generic[R]):
    """Walks the space of one scenario.

    Args:
    execute: makes a real run.
    most_runs: after so many real runs ``explore`` gives up, and what was run is the result.
    """

    def __init__(self, execute: Execute[R], *, most_runs: int = 1_000_000) -> None:
        self._execute = execute
        self._left = most_runs
        self._roots: State | None = None
        self._counts: dict[State, int] = {}
        self._results: dict[State, tuple[str, R]] = {}
        self.runs = 0

    def explore(self) -> Space[R]:
        try:
            schedules, complete = self._walk(self.root(), []), True
        except OutOfRuns:
            return self.found()
        return Space(schedules, len(self._counts), dict(self._results.values()), complete)

    def found(self) -> Space[R]:
        """What the runs so far have shown, for a space that is too large to walk."""
        results = dict(self._results.values())
        return Space(len(results), len(self._counts), results, complete=False)

    def every_schedule(self) -> Iterator[tuple[str, str, R]]:
        """Each schedule of an explored space, the one that stands for its class, and its result."""
        assert self._roots is not None, "explore first"
        yield from self._enumerate(self._roots, [])

    # -- a step at a time -------------------------------------------------------------------

    def root(self) -> State:
        """The state before any move."""
        if self._roots is None:
            self._run(())
        assert self._roots is not None
        return self._roots

    def after(self, state: State, path: Sequence[str]) -> State:
        """The state after the last move of ``path``, made in ``state``; a run shows it if none
        has yet."""
        following = _follow(state, path[-1])
        if following is None:
            self._run(path)
            following = _follow(state, path[-1])
            assert following is not None, "the run did not make the moves that it was given"
        return following

    def result(self, state: State, path: Sequence[str]) -> R:
        """What came of ``path``, which ends in ``state``, where nothing is left to happen."""
        if state not in self._results:
            self._run(path)
        return self._results[state][1]

    # -- the walk ---------------------------------------------------------------------------

    def _walk(self, state: State, path: list[str]) -> int:
        """Visit everything behind ``state``; return how many schedules lead on from there."""
        known = self._counts.get(state)
        if known is not None:
            return known
        count = 0
        for move in moves_of(state):
            path.append(move)
            count += self._walk(self.after(state, path), path)
            path.pop()
        if not count:
            self.result(state, path)
            count = 1
        self._counts[state] = count
        return count

    def _enumerate(self, state: State, path: list[str]) -> Iterator[tuple[str, str, R]]:
        moves = moves_of(state)
        for move in moves:
            following = _follow(state, move)
            assert following is not None
            path.append(move)
            yield from self._enumerate(following, path)
            path.pop()
        if not moves:
            yield ("".join(path), *self._results[state])

    # -- learning ---------------------------------------------------------------------------

    def _run(self, moves: Sequence[str]) -> None:
        if not self._left:
            raise OutOfRuns
        self._left -= 1
        self.learn(self._execute(moves))

    def learn(self, run: Run[R]) -> None:
        """Add what a run has shown of both ends. Raises Nondeterminism if it contradicts others."""
        self.runs += 1
        if self._roots is None:
            client, server = (History(free, 0, ()) for free in run.free)
            self._roots = (client, server)
        at = list(self._roots)
        for step in run.steps:
            at[step.end] = _learn(at[step.end], step)
        moves = "".join(step.move for step in run.steps)
        self._results.setdefault((at[CLIENT], at[SERVER]), (moves, run.result))


def _learn(history: History, step: Step) -> History:
    key = (step.move, step.taken)
    made = history.made + step.made
    known = history.next.get(key)
    if known is None:
        taken = history.taken + (step.move == TAKE[step.end])
        known = history.next[key] = History(step.free, taken, made)
    elif known.free != step.free or known.made != made:
        raise Nondeterminism(
            f"after {step.move} an end can {known.free!r} and {step.free!r}, "
            f"and made {known.made[len(history.made) :]} and {step.made}"
        )
    return known


def moves_of(state: State) -> list[str]:
    """What can happen next."""
    client, server = state
    moves = list(server.free)
    if server.taken < len(client.made):
        moves.append(TAKE[SERVER])
    if client.taken < len(server.made):
        moves.append(TAKE[CLIENT])
    return moves + list(client.free)


def _follow(state: State, move: str) -> State | None:
    """The state after ``move``, or None if no run has shown it."""
    client, server = state
    if move == TAKE[CLIENT] or move in client.free:
        message = server.made[client.taken] if move == TAKE[CLIENT] else None
        after = client.next.get((move, message))
        return (after, server) if after else None
    message = client.made[server.taken] if move == TAKE[SERVER] else None
    after = server.next.get((move, message))
    return (client, after) if after else None

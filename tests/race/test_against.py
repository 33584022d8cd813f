"""Comparing two releases over whole spaces: nothing is left out, and a fault anywhere is found."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import pytest
from kit.contexts import history
from kit.explore import tiers
from kit.explore.against import Against, Part
from kit.explore.ends import CLIENT, SERVER, Explorer, Run, Step
from kit.explore.run import Result, perform
from kit.explore.schedule import split
from kit.explore.stage import Stage
from livekit.agents import llm

pytestmark = pytest.mark.race(check="contract")


class Toys:
    """A server that talks, and a client with one operation, which sends a message.

    ``late``: the message goes out with the next delivery instead. ``wrong``: how many words the
    server must have said before it hears the message for something to be broken.
    """

    def __init__(self, says: int, *, wrong: Sequence[int], late: bool = False) -> None:
        self.says, self.wrong, self.late = says, wrong, late

    def begin(self) -> None:
        self.up: deque[str] = deque()
        self.down: deque[str] = deque()
        self.said, self.left, self.owes = 0, "A", False
        self.heard: list[int] = []

    def free(self, end: int) -> str:
        return self.left if end == CLIENT else "g" * (self.said < self.says)

    def possible(self) -> str:
        return self.free(SERVER) + "h" * bool(self.up) + "d" * bool(self.down) + self.left

    def move(self, move: str) -> Step:
        end = SERVER if move in "gh" else CLIENT
        taken, made = None, []
        if move == "g":
            self.said += 1
            made = [str(self.said)]
        elif move == "h":
            taken = self.up.popleft()
            self.heard.append(self.said)
        elif move == "d":
            taken = self.down.popleft()
            made, self.owes = ["message"] * self.owes, False
        else:
            self.left, self.owes = "", self.late
            made = [] if self.late else ["message"]
        (self.down if end == SERVER else self.up).extend(made)
        return Step(end, move, taken, tuple(made), self.free(end))

    def run(self, moves: Sequence[str], *, on: bool = True) -> Run[frozenset[str]]:
        """Make the moves that are possible, then with ``on`` any others, else only the rest."""
        self.begin()
        free = (self.free(CLIENT), self.free(SERVER))
        steps = [self.move(move) for move in moves if move in self.possible()]
        while possible := self.possible() if on else self.possible().replace("A", ""):
            steps.append(self.move(possible[0]))
        broken = set(self.heard) & set(self.wrong)
        return Run(free, tuple(steps), frozenset({"refused"} if broken else ()))

    def explorer(self) -> Explorer[frozenset[str]]:
        return Explorer(self.run)

    def result(self, moves: Sequence[str]) -> frozenset[str]:
        return self.run(moves, on=False).result


def _added(patched: Toys, official: Toys) -> tuple[Part, set[str], set[str]]:
    """What is broken, the schedules that comparing names, and all that are worse, one by one."""
    explorer = patched.explorer()
    explorer.explore()
    part = Part.of(explorer, lambda result: result)
    part = Part.parse(part.document())
    against = Against(official.explorer(), lambda result: result, official.result)
    named = set(against.compare(part))
    worse = {
        moves for moves, _, result in explorer.every_schedule() if result - official.result(moves)
    }
    return part, named, worse


EVER = range(9)


@pytest.mark.parametrize("says", [1, 2, 4])
@pytest.mark.parametrize("late", [False, True], ids=["alike", "late"])
@pytest.mark.parametrize("wrong", [(), (1,), (0, 2), EVER], ids=str)
def test_all_that_is_worse_is_found(says: int, late: bool, wrong: Sequence[int]) -> None:
    patched, official = Toys(says, wrong=EVER), Toys(says, wrong=wrong, late=late)
    part, named, worse = _added(patched, official)
    explorer = patched.explorer()
    assert part.schedules() == explorer.explore().schedules
    assert named <= worse
    assert bool(named) == bool(worse)


def test_those_that_stand_for_a_class_may_look_alike_where_others_do_not() -> None:
    """The official client sends later, so that schedules which are equivalent on the patched one
    part ways: to compare one of each class is to see nothing."""
    patched, official = Toys(3, wrong=(2,)), Toys(3, wrong=(3,), late=True)
    _, named, worse = _added(patched, official)
    assert len(worse) == 18
    assert named
    assert worse.isdisjoint(patched.explorer().explore().results)


def test_nothing_is_broken() -> None:
    part, named, _ = _added(Toys(2, wrong=()), Toys(2, wrong=EVER))
    assert (part.schedules(), part.broken, named) == (0, {}, set())


# -- the real client ------------------------------------------------------------------------------

SCENARIO = "session/openai/call/fresh-copy"
CUT_SHORT = "session/openai/call/cut-cancelled"
KNOWN = len(history()) + 1  # a copy of the context, once the call is in it


def _refuses_a_copy(stage: Stage) -> None:
    """A fault: the update ends with an error if the context holds the call."""
    session = stage.driver.session
    update = session.update_chat_ctx

    async def planted(context: llm.ChatContext) -> None:
        await update(context)
        if len(context.items) == KNOWN:
            raise llm.RealtimeError("planted")

    session.update_chat_ctx = planted


def test_a_planted_fault_is_found_on_every_schedule_that_has_it() -> None:
    scenario = tiers.find(SCENARIO)
    faulty = replace(scenario, prepare=_refuses_a_copy)
    explorer: Explorer[Result] = Explorer(lambda moves: perform(faulty, moves))
    space = explorer.explore()
    failing = [r for r in space.results.values() if "update-failed" in r.violations]
    comparison = tiers.Comparison()
    comparison.of_space(scenario, Part.of(explorer, tiers.compared))
    assert {"update-failed"} == {name for names in comparison.added.values() for name in names}
    assert comparison.compared == comparison.pairs == len(comparison.added) == len(failing)
    assert comparison.compared < comparison.schedules < space.schedules
    for schedule in comparison.added:
        _, moves = split(schedule)
        assert "update-failed" in perform(faulty, moves, choose=None).result.violations
        assert "update-failed" not in perform(scenario, moves, choose=None).result.violations


def test_the_same_release_adds_nothing() -> None:
    findings = tiers.explore("quick", 0, wanted=lambda s: s.id.startswith(CUT_SHORT))
    comparison = tiers.compare(findings.report())
    assert comparison.added == {}

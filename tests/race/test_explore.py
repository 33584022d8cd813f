"""The explorer itself: it counts right, leaves out nothing, replays exactly, and can fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from math import comb
from typing import Any

import pytest
from kit.explore import operations, shrink, tiers
from kit.explore.checks import FLAG
from kit.explore.ends import CLIENT, SERVER, Explorer, Nondeterminism, Run, Step
from kit.explore.run import at_random, perform, told
from kit.explore.scenario import Op, Scenario
from kit.explore.schedule import decode, encode, split, switches
from kit.explore.session_space import CALL

pytestmark = pytest.mark.race(check="contract")


# -- two toys that talk ---------------------------------------------------------------------------


class Toys:
    """A server that says "1", "2", … on its own and answers what it hears; a client that sends
    one message for each of its operations. ``lies``: it remembers how often it was run."""

    def __init__(self, says: int, ops: str, *, lies: bool = False) -> None:
        self.says, self.ops, self.lies = says, ops, lies
        self.runs = self._said = 0
        self._left = ops

    def free(self, end: int) -> str:
        return self._left[:1] if end == CLIENT else "g" * (self._said < self.says)

    def possible(self) -> str:
        links = "h" * bool(self._up) + "d" * bool(self._down)
        return self.free(SERVER) + links + self.free(CLIENT)

    def move(self, move: str) -> Step:
        taken = {"h": self._up, "d": self._down}.get(move, deque([None])).popleft()
        made: tuple[str, ...] = ()
        if move == "g":
            self._said += 1
            made = (str(self._said),)
        elif move == "h":
            made = (f"re {taken}",)
        elif move in self._left:
            self._left = self._left[1:]
            made = (f"{move}{self.runs}" if self.lies else move,)
        end = SERVER if move in "gh" else CLIENT
        (self._down if end == SERVER else self._up).extend(made)
        return Step(end, move, taken, made, self.free(end))

    def __call__(self, moves: Sequence[str]) -> Run[str]:
        self._said, self._left, self.runs = 0, self.ops, self.runs + 1
        self._up: deque[Any] = deque()
        self._down: deque[Any] = deque()
        free, steps = (self.free(CLIENT), self.free(SERVER)), []
        for move in moves:
            steps.append(self.move(move))
        while possible := self.possible():
            steps.append(self.move(possible[0]))
        ends = ["".join(s.move for s in steps if s.end == end) for end in (CLIENT, SERVER)]
        return Run(free, tuple(steps), "|".join(ends))

    def every_schedule(self) -> dict[str, str]:
        """By brute force: each schedule, and what each end did in it."""
        found, waiting = {}, [""]
        while waiting:
            prefix = waiting.pop()
            run = self(prefix)
            if len(run.steps) == len(prefix):
                found[prefix] = run.result
                continue
            self._said, self._left = 0, self.ops
            self._up, self._down = deque(), deque()
            for move in prefix:
                self.move(move)
            waiting += [prefix + move for move in self.possible()]
        return found


@pytest.mark.parametrize("says", range(1, 7))
def test_a_server_that_only_talks(says: int) -> None:
    """What is delivered follows what is said: Catalan's numbers, and all are one class."""
    space = Explorer(Toys(says, "")).explore()
    assert space.schedules == comb(2 * says, says) // (says + 1)
    assert len(space.results) == 1


@pytest.mark.parametrize(("says", "ops"), [(1, "A"), (2, "A"), (3, "A"), (1, "AB"), (2, "AB")])
def test_nothing_is_left_out(says: int, ops: str) -> None:
    every = Toys(says, ops).every_schedule()
    toys = Toys(says, ops)
    explorer = Explorer(toys)
    space = explorer.explore()
    assert space.complete
    assert space.schedules == len(every)
    assert sorted(space.results.values()) == sorted(set(every.values()))
    assert toys.runs == explorer.runs == len(space.results)
    assert {schedule: result for schedule, _, result in explorer.every_schedule()} == every


def test_a_bound_on_runs() -> None:
    explorer = Explorer(Toys(3, "AB"), most_runs=5)
    space = explorer.explore()
    assert not space.complete
    assert explorer.runs == space.schedules == 5


def test_an_end_that_remembers_other_runs() -> None:
    with pytest.raises(Nondeterminism):
        Explorer(Toys(2, "A", lies=True)).explore()


# -- texts ----------------------------------------------------------------------------------------


def test_a_schedule_is_short_text() -> None:
    moves = "g" * 12 + "dAhd.."
    assert encode(moves) == "12gdAhd2."
    assert decode(encode(moves)) == moves
    assert split("session/openai/call/close:2gA") == ("session/openai/call/close", "ggA")
    assert switches("ggddAhd") == 3


@pytest.mark.parametrize("text", ["12", "g?d", "gÄ"])
def test_a_text_that_is_no_schedule(text: str) -> None:
    with pytest.raises(ValueError, match="something else"):
        split(f"scenario:{text}")


def test_a_scenario_that_is_not_there() -> None:
    with pytest.raises(LookupError, match="no scenario"):
        tiers.replay("session/openai/no-such:g")


def test_scenarios_have_names_of_their_own() -> None:
    names = [scenario.id for scenario in tiers.scenarios()]
    assert len(names) == len(set(names))
    assert not [name for name in names if set(name) & set(":;&|<>*?'\"$` ")]


def test_shrinking_leaves_what_is_needed() -> None:
    def breaks(moves: Sequence[str]) -> bool:
        text = "".join(moves)
        return "A" in text and text[: text.index("A")].count("d") >= 2

    assert shrink.leave_out(list("gggddhdAhhd"), breaks) == list("ddA")


# -- the real client ------------------------------------------------------------------------------

SMALL = "session/openai/call/cut-failed-mute"
SAMPLED = ("session/openai/call/two-phase-tail", "agent/openai/ticks/call/interrupt-early")


def test_each_schedule_is_like_the_one_that_stands_for_it() -> None:
    count, unlike = tiers.whole(tiers.find(SMALL))
    assert count > 100
    assert unlike == []
    assert tiers.whole(tiers.find(SMALL), most=count - 1) == (0, [])


@pytest.mark.parametrize("scenario_id", [SMALL, *SAMPLED])
def test_a_replay_is_the_same_to_the_last_event(scenario_id: str) -> None:
    scenario = tiers.find(scenario_id)
    space, _ = tiers.explore_one(scenario, tiers.Bounds(5, 3, 3), seed=1)
    assert space.results
    for moves, result in space.results.items():
        schedule = f"{scenario_id}:{encode(moves)}"
        assert tiers.replay(schedule) == result
        assert told(scenario, moves)[0] == result


@pytest.mark.parametrize("scenario_id", SAMPLED)
def test_the_same_seed_makes_the_same_choices(scenario_id: str) -> None:
    scenario = tiers.find(scenario_id)
    runs = [perform(scenario, "", choose=at_random(seed)) for seed in ("1", "1", "2")]
    assert runs[0] == runs[1]
    assert runs[0].steps != runs[2].steps


def test_what_is_impossible_is_skipped() -> None:
    scenario = tiers.find(SMALL)
    plain = perform(scenario, "ggd", choose=None)
    assert perform(scenario, "hdZgwgdtp", choose=None).steps == plain.steps


# -- teeth ----------------------------------------------------------------------------------------


def _sends(name: str, event: dict[str, Any]) -> Op:
    return Op(
        name,
        lambda stage: stage.driver.session.send_event(event),
        lambda stage: CALL.id in stage.mirror(),
    )


def _deaf_to_deletes(server: Any) -> None:
    receive = server.receive
    server.receive = lambda event: None if event["type"].endswith("delete") else receive(event)


DELETE = _sends("delete it", {"type": "conversation.item.delete", "item_id": CALL.id})
AGAIN = _sends(
    "create it again",
    {"type": "conversation.item.create", "item": {"id": CALL.id, "type": "message"}},
)
FLAGGED = _sends("send the flag", {"type": "session.update", "session": {"dispatched": False}})


def _changed(name: str, **changes: Any) -> Scenario:
    return replace(tiers.find(f"session/openai/call/{name}"), **changes)


@pytest.mark.parametrize(
    ("violation", "scenario"),
    [
        ("deleted-in-flight", _changed("cut-failed", ops=(DELETE,))),
        ("recreated-in-flight", _changed("cut-failed", ops=(AGAIN,))),
        ("flag-on-the-wire", _changed("cut-failed", ops=(FLAGGED,))),
        ("undeletable", _changed("close", ops=(), configure=_deaf_to_deletes)),
        ("client-call-in-flight", _changed("own-call", ops=(), configure=_deaf_to_deletes)),
        ("timeout", _changed("close", ops=(), configure=_deaf_to_deletes)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_client_that_does_wrong_is_caught(violation: str, scenario: Scenario) -> None:
    space, _ = tiers.explore_one(scenario, tiers.Bounds(20, 0, 0), seed=0)
    assert violation in {name for result in space.results.values() for name in result.violations}


def test_a_started_call_may_be_deleted() -> None:
    ops = (operations.START, DELETE)
    space, _ = tiers.explore_one(_changed("close", ops=ops), tiers.Bounds(50, 0, 0), seed=0)
    assert {"deleted-while-running"} == {
        name for r in space.results.values() for name in r.recorded
    }
    assert not {name for r in space.results.values() for name in r.violations} & set(FLAG)


@pytest.mark.race(check="loses-calls", documented=True)
@pytest.mark.parametrize(
    "scenario_id", ["session/openai/call/stale-snapshot", "agent/openai/call/fresh-copy-history"]
)
def test_no_interleaving_loses_a_call(scenario_id: str) -> None:
    space, _ = tiers.explore_one(tiers.find(scenario_id), tiers.Bounds(100, 0, 0), seed=0)
    loss = {*FLAG, "output-lost"}
    broken = {moves: r for moves, r in space.results.items() if loss.intersection(r.violations)}
    assert space.complete
    assert not broken

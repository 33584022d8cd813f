"""A schedule's result does not depend on what came before it, or on what is around it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from kit.clock import clock
from kit.explore import tiers
from kit.explore.checks import FLAG
from kit.explore.offspring import run_all
from kit.explore.run import perform
from kit.explore.schedule import decode, encode
from kit.explore.stages import SessionStage, grown
from kit.features import FLAVOURS, session_class
from kit.life import FACTORS, LIVES, Life, uncovered
from kit.transport import MemoryHTTP

pytestmark = pytest.mark.race(check="contract")

SCENARIO = "session/openai/call/stale-snapshot"


def test_every_pair_of_values_is_met() -> None:
    assert uncovered(LIVES) == []
    assert uncovered(LIVES[1:]) != []
    assert {*FACTORS} == {*vars(LIVES[0])} - {"number"}


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.number)
def test_a_life_is_what_it_says(life: Life) -> None:
    stage = grown(tiers.find(SCENARIO).in_life(life))
    assert isinstance(stage, SessionStage)
    world = stage.world
    ids = world.server.ids()
    assert stage.mirror() == ids
    # some releases replay no calls to a new connection
    assert len(ids) >= 50 * (life.past != "none") + 3 * life.turns
    assert len(ids) <= 100 * (life.past != "none") + 5 * life.turns
    client = FLAVOURS["openai"]
    assert world.connections == 1 + life.reconnects * client.reconnects
    assert len(stage.neighbours) == life.neighbours
    # some releases cancel before every reply that they ask for
    refused = [error["message"] for error in world.server.errors]
    assert all(message.startswith("Cancellation failed") for message in refused)
    assert world.server.audio == (life.audio or not client.writes)


@pytest.mark.parametrize(
    "level", ["session/openai/call/stale-snapshot", "agent/openai/call/fresh-copy"]
)
def test_a_child_of_a_life_does_what_one_that_lives_it_anew_does(
    level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [tiers.find(level).in_life(life) for life in LIVES[::4]]
    done = [*run_all(there)]
    assert {scenario.id for scenario in there} == {scenario_id for scenario_id, _, _ in done}
    for scenario_id, moves, result in done:
        again = tiers.find(scenario_id)
        assert perform(again, decode(encode(moves)), choose=None).result == result
    with monkeypatch.context() as there_is_no_fork:
        there_is_no_fork.delattr(os, "fork")
        assert [*run_all(there)] == done


@pytest.mark.race(check="loses-calls", documented=True)
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.number)
def test_no_call_is_lost_in_a_life(life: Life, request: pytest.FixtureRequest) -> None:
    """Each scenario once, acting at the life's moment; what is cut at every tick is left out.

    The first that loses ends it: official wheels need no other.
    """
    there = tiers.lived(request.config.option.tier, life)
    lost = (
        f"{scenario_id}:{encode(moves)} breaks {', '.join(broken)}"
        for scenario_id, moves, result in run_all(there)
        if (broken := sorted({*result.violations}.intersection(FLAG)))
    )
    assert next(lost, None) is None


def test_the_tier_quick_plays_each_scenario_in_a_life() -> None:
    played = [{s.id.partition("@")[0] for s in tiers.lived("quick", life)} for life in LIVES]
    assert set.union(*played) == {s.id for s in tiers.scenarios("quick") if not s.ticks}
    assert {SCENARIO} <= set.intersection(*played)
    assert len({len(names) for names in played}) <= 2


def test_there_is_no_such_life() -> None:
    for name in ("0", f"{len(LIVES) + 1}", "x"):
        with pytest.raises(LookupError, match="no life"):
            tiers.find(f"{SCENARIO}@{name}")


# -- guards that are lost with something that should not matter ----------------------------------


def _with_size(session: Any) -> bool:
    return len(session.chat_ctx.items) >= 12


def _after_reconnect(session: Any) -> bool:
    return bool(getattr(session, "_was_reconnected", False))


def _from_the_fourth_response(session: Any) -> bool:
    return getattr(session, "_responses_seen", 0) >= 4


def _for_azure(session: Any) -> bool:
    return _is_azure(session._realtime_model)


def _is_azure(model: Any) -> bool:
    return bool(getattr(model._opts, "is_azure", False))


def _nobody() -> Any:
    raise AssertionError("it connects")


def _with_a_neighbour(session: Any) -> bool:
    return type(session)._alive > 1


def _long_ids(session: Any) -> bool:
    calls = (item for item in session.chat_ctx.items if item.type == "function_call")
    return any(len(item.call_id) > 32 for item in calls)


def _behind(session: Any) -> bool:
    return bool(session.chat_ctx.items) and session.chat_ctx.items[-1].type != "function_call"


LOST: dict[str, Callable[[Any], bool]] = {
    "size": _with_size,
    "reconnect": _after_reconnect,
    "responses": _from_the_fourth_response,
    "azure": _for_azure,
    "neighbours": _with_a_neighbour,
    "ids": _long_ids,
    "behind": _behind,
}


@pytest.mark.parametrize("reason", [*LOST, "time"])
def test_a_guard_that_is_lost_is_noticed(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flavour = FLAVOURS["openai"]
    if reason == "azure" and not _is_azure(flavour.model(MemoryHTTP(_nobody), vendor="azure")):
        pytest.skip("Azure has another client on this release")
    if reason == "reconnect" and not flavour.reconnects:
        pytest.skip("a session of this release does not come back")
    client = session_class(flavour.find())
    update = client.update_chat_ctx
    begin = client.__init__
    announced: dict[str, float] = {}
    lost = LOST.get(reason)

    def started(self: Any, *words: Any, **options: Any) -> None:
        begin(self, *words, **options)
        client._alive = getattr(client, "_alive", 0) + 1
        self.on("session_reconnected", lambda _: setattr(self, "_was_reconnected", True))
        self.on("generation_created", lambda _: _count(self))
        self.on("openai_server_event_received", lambda event: _note(event, announced))

    def faulty(self: Any, context: Any) -> Any:
        kept = {item.id for item in context.items}
        for item in self.chat_ctx.items:
            if item.type == "function_call" and item.id not in kept:
                old = clock.read() - announced.get(item.id, clock.read()) > 30
                if lost(self) if lost else old:
                    self.send_event({"type": "conversation.item.delete", "item_id": item.id})
        return update(self, context)

    monkeypatch.setattr(client, "__init__", started)
    monkeypatch.setattr(client, "update_chat_ctx", faulty)
    scenarios = [tiers.find(SCENARIO).in_life(life) for life in LIVES]
    results = [result for *_, result in run_all(scenarios)]
    assert any("deleted-in-flight" in result.violations for result in results)


def _count(session: Any) -> None:
    session._responses_seen = getattr(session, "_responses_seen", 0) + 1


def _note(event: dict[str, Any], announced: dict[str, float]) -> None:
    if event["type"] == "response.output_item.added":
        announced[event["item"]["id"]] = clock.read()

"""The scenarios of the whole ``AgentSession``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..contexts import BLIND, history
from ..script import Call, Response, Say
from . import operations as do
from .links import ARGUMENTS_IN_PIECES
from .operations import blind
from .scenario import Op, Scenario
from .session_space import CALL, CUTS, OTHER, OWN, SHAPES, with_own_call
from .stages import AgentStage

BAD = {
    "unknown-tool": Call("missing", "{}"),
    "bad-arguments": Call("book", '{"seat": "window"}'),
}
BROKEN = Call("broken", "{}")
LONG = Response((Say("A long story.", id="msg_long"),))


def _scenario(name: str, shape: str, *ops: Op, **more: Any) -> Scenario:
    settings: dict[str, Any] = {"unsent": ARGUMENTS_IN_PIECES, **more}
    settings.setdefault("responses", (SHAPES[shape],))
    return Scenario(f"{shape}/{name}", "agent", "openai", ops=ops, **settings)


def _hand_over(stage: AgentStage) -> None:
    """The tool's result is another agent."""
    stage.next_agent = stage.driver.make_agent(history=stage.scenario.history())


def agent_scenarios() -> Iterator[Scenario]:
    past: dict[str, Any] = {"history": history}
    for shape in SHAPES:
        yield _scenario("fresh-copy", shape, do.FRESH, client_moves="t")
        yield _scenario("fresh-copy-history", shape, do.FRESH, **past)
        yield _scenario("summary", shape, *do.SUMMARY, **past)
        yield _scenario("no-calls", shape, do.NO_CALLS, client_moves="t")
        yield _scenario("note", shape, do.NOTE, do.FRESH)
        for name in BLIND:
            yield _scenario(name, shape, *blind(name), **past)
        yield _scenario("interrupt", shape, do.INTERRUPT, do.NO_CALLS)
        yield _scenario("interrupt-early", shape, do.INTERRUPT, client_moves="t")
        yield _scenario("switch", shape, do.SWITCH, **past)
        yield _scenario("switch-fresh", shape, do.SWITCH, do.FRESH, **past)
        yield _scenario("caller-speaks", shape, do.NO_CALLS, server_ops="s")
        yield _scenario(
            "waits", shape, do.FRESH, responses=(LONG, SHAPES[shape]), audio=True,
            client_moves="p", **past,
        )  # fmt: skip
        yield _scenario("waits-interrupt", shape, do.INTERRUPT, responses=(LONG, SHAPES[shape]),
                        audio=True, client_moves="p")  # fmt: skip
    instruct, removed = (do.AGENT_INSTRUCT, do.FRESH), (do.TOOL_REMOVED, do.FRESH)
    yield _scenario("instruct", "call", *instruct)
    yield _scenario("tools", "call", do.TOOLS, do.FRESH)
    yield _scenario("tool-removed", "call", *removed, never_start=frozenset({CALL.id}))
    yield _scenario("loaded", "call", do.LOADED, **past)
    yield _scenario("saved", "call", do.SAVE, do.LOAD, **past)
    yield _scenario("own-call", "call", do.NO_CALLS, history=with_own_call, calls=(OWN,))
    yield _scenario("close", "call", do.CLOSE, client_moves="t")
    yield _scenario("audio", "message-call", do.FRESH, audio=True, **past)
    for name, call in BAD.items():
        bad: dict[str, Any] = {"responses": (Response((call,)),)}
        bad["never_start"] = frozenset({call.id})
        yield _scenario(name, "call", do.NO_CALLS, **bad)
    raises = (Response((BROKEN,)),)
    yield _scenario("raises", "call", do.NO_CALLS, responses=raises, client_moves="t")
    for status in CUTS:
        for mute in ("", "-mute"):
            cut = Response((CALL,), status=status, cut=True, item_done=not mute)
            yield _scenario(f"cut-{status}{mute}", "call", do.NO_CALLS, responses=(cut,))
    asked: dict[str, Any] = {"responses": (), "asked": (SHAPES["call"],)}
    yield _scenario("asked", "call", do.REPLY, do.FRESH, **asked, **past)
    yield _scenario("asked-interrupted", "call", do.REPLY, do.INTERRUPT, **asked)
    yield _scenario("hand-over", "call", do.FRESH, prepare=_hand_over, client_moves="t", **past)
    yield _scenario("hand-over", "two-calls", prepare=_hand_over, client_moves="t", **past)
    follow = (SHAPES["call"], Response((OTHER,)))
    yield _scenario("hand-over-next", "call", prepare=_hand_over, client_moves="t",
                    responses=follow, **past)  # fmt: skip
    yield _scenario("given-up", "call", do.INTERRUPT, responses=follow, server_ops="v")
    yield _scenario("cancelled", "two-calls", do.TASKS_CANCELLED, **past)
    yield _scenario("reconnect", "call", server_ops="x", client_moves="w", **past)
    yield _scenario("reconnect-stale", "call", *blind("stale-snapshot"), server_ops="x",
                    client_moves="w", **past)  # fmt: skip


def agent_flavours() -> Iterator[Scenario]:
    """Some of them for the clients that share the engine; missing ones are left out later."""
    wanted = ("fresh-copy-history", "no-calls", "stale-snapshot", "interrupt-early", "switch",
              "unknown-tool", "cut-incomplete", "reconnect")  # fmt: skip
    for flavour in ("beta", "inference", "inference-xai", "xai"):
        for scenario in agent_scenarios():
            shape, name = scenario.name.split("/")
            if shape == "call" and name in wanted:
                yield replace(scenario, flavour=flavour)


def at_every_tick() -> Iterator[Scenario]:
    """Sampled: the client is cut wherever its event loop stands."""
    wanted = ("fresh-copy", "interrupt-early", "switch", "asked-interrupted", "stale-snapshot",
              "waits-interrupt", "caller-speaks")  # fmt: skip
    for scenario in agent_scenarios():
        shape, name = scenario.name.split("/")
        if name in wanted and shape != "message-call":
            at_ticks = replace(scenario, name=f"ticks/{scenario.name}", ticks=True)
            yield at_ticks
            if at_ticks.name == "ticks/call/interrupt-early":
                yield replace(at_ticks, flavour="beta")

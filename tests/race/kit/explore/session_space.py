"""The scenarios of the session alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..contexts import BLIND, answered_call, history
from ..features import servers_can_answer
from ..script import Answer, Call, Response, Say, Status
from . import operations as do
from .links import ARGUMENTS_IN_PIECES
from .operations import blind
from .scenario import Op, Scenario
from .stage import Stage

CALL, OTHER = Call(), Call("book", '{"seat": 4}', id="fnc_2", call_id="call_2")
OWN = Call(id="fnc_0", call_id="call_0")
SHAPES = {
    "call": Response((CALL,)),
    "message-call": Response((Say(), CALL)),
    "two-calls": Response((CALL, OTHER)),
}
CUTS: tuple[Status, ...] = ("cancelled", "failed", "incomplete")


def with_own_call() -> list[Any]:
    return [*history(), *answered_call()]


def _scenario(name: str, shape: str, *ops: Op, **more: Any) -> Scenario:
    settings: dict[str, Any] = {"history": history, "unsent": ARGUMENTS_IN_PIECES, **more}
    settings.setdefault("responses", (SHAPES[shape],))
    return Scenario(f"{shape}/{name}", "session", "openai", ops=ops, **settings)


def _auto(stage: Stage) -> None:
    stage.driver.model._capabilities.auto_tool_reply_generation = True


def _slow(server: Any) -> None:
    server.deaf_to_cancel = True


def _mute(server: Any) -> None:
    server.cancel_sends_item_done = False


def session_scenarios() -> Iterator[Scenario]:
    for shape in SHAPES:
        for name in BLIND:
            yield _scenario(name, shape, *blind(name))
        yield _scenario("fresh-copy", shape, do.FRESH)
        yield _scenario("no-calls", shape, do.NO_CALLS)
        yield _scenario("moved", shape, do.MOVED)
        yield _scenario("note", shape, do.NOTE)
        yield _scenario("trim", shape, do.TRIMMED)
        yield _scenario("summary", shape, *do.SUMMARY)
        yield _scenario("loaded", shape, do.LOADED)
        yield _scenario("start-stale", shape, do.START, *blind("stale-snapshot"))
        yield _scenario("started-fresh", shape, do.START, do.FRESH, do.ANSWER)
        yield _scenario("cancel", shape, do.CANCEL, *blind("stale-snapshot"))
    yield _scenario("two-blind", "call", *blind("trimmed"), *blind("emptied"))
    yield _scenario("unawaited", "call", *blind("two-phase-tail", awaited=False))
    yield _scenario("note-fresh", "call", do.NOTE, do.FRESH)
    yield _scenario("stale-fresh", "call", *blind("stale-snapshot"), do.FRESH, any_order=True)
    yield _scenario("save-load", "call", do.SAVE, do.LOAD)
    yield _scenario("instruct", "call", do.INSTRUCT, *blind("stale-snapshot"), any_order=True)
    yield _scenario("close", "call", do.CLOSE)
    yield _scenario("in-pieces", "call", *blind("stale-snapshot"), unsent=frozenset())
    yield _scenario("audio", "message-call", *blind("stale-snapshot"), audio=True)
    yield _scenario("mute", "call", do.CANCEL, *blind("stale-snapshot"), configure=_mute)
    own: dict[str, Any] = {"history": with_own_call, "calls": (OWN,)}
    yield _scenario("own-call", "call", do.NO_CALLS, **own)
    yield _scenario("own-call-stale", "call", *blind("stale-snapshot"), **own)
    for status in CUTS:
        for item_done in (True, False):
            cut = Response((CALL,), status=status, cut=True, item_done=item_done)
            name = f"cut-{status}" + ("" if item_done else "-mute")
            yield _scenario(name, "call", *blind("stale-snapshot"), responses=(cut,))
    for shape in SHAPES:
        asked: dict[str, Any] = {"responses": (), "asked": (SHAPES[shape],)}
        stale = blind("stale-snapshot")
        yield _scenario("asked", shape, do.ASK, *stale, **asked)
        yield _scenario("asked-given-up", shape, do.ASK, do.GIVE_UP, *stale, **asked)
    yield _scenario(
        "given-up-late", "call", do.ASK, do.GIVE_UP,
        responses=(), asked=(SHAPES["call"],), configure=_slow,
    )  # fmt: skip
    yield _scenario("reconnect", "call", server_ops="x", client_moves="w")
    yield _scenario(
        "reconnect-stale", "call", *blind("stale-snapshot"), server_ops="x", client_moves="w"
    )
    yield _scenario("reconnect-own", "call", do.NO_CALLS, server_ops="x", client_moves="w", **own)
    follow = (SHAPES["call"], Response((Say(id="msg_9"),)))
    yield _scenario("next-response", "call", *blind("stale-snapshot"), responses=follow)
    yield _scenario("given-up", "call", *blind("stale-snapshot"), responses=follow, server_ops="v")
    yield _scenario("announced-twice", "call", *blind("stale-snapshot"), server_ops="a")
    answer = (Response((CALL, Answer(), Say(id="msg_9"))),)
    auto: dict[str, Any] = {"responses": answer, "prepare": _auto, "needs": servers_can_answer}
    yield _scenario("server-output", "call", do.NO_CALLS, **auto)
    yield _scenario("server-output-reconnect", "call", do.SAVE, do.LOAD, server_ops="x",
                    client_moves="w", **auto)  # fmt: skip
    yield _scenario("put-back", "call", do.SAVE, do.NO_CALLS, do.LOAD, server_ops="x",
                    client_moves="w")  # fmt: skip


def session_flavours() -> Iterator[Scenario]:
    """The same, less, for the clients that share the engine; missing ones are left out later."""
    wanted = ("stale-snapshot", "two-phase-tail", "no-calls", "own-call", "reconnect", "cancel",
              "start-stale", "asked-given-up", "close")  # fmt: skip
    for flavour in ("beta", "inference", "inference-xai", "xai"):
        for scenario in session_scenarios():
            shape, name = scenario.name.split("/")
            if shape == "call" and name in wanted:
                yield replace(scenario, flavour=flavour)

"""The operations of applications and of agents, for scenarios of either level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livekit.agents import llm

from ..contexts import BLIND, history, message, without_calls
from ..features import agent_changes, contexts_can_be_loaded
from .scenario import Op
from .stage import Stage
from .stages import AgentStage, SessionStage

# -- updates of the context, from what was known before, or from what is known now ----------------


def blind(name: str, *, awaited: bool = True) -> tuple[Op, ...]:
    """A context of ``contexts.BLIND``, made before the response: one operation for each phase.

    Without ``awaited`` the phases are not waited for.
    """

    def phase(number: int) -> Op:
        def do(stage: Stage) -> None:
            stage.update(BLIND[name](stage.before)[number], f"{name}, phase {number + 1}")

        ready = (lambda stage: stage.idle) if awaited and number else (lambda stage: True)
        return Op(f"{name}-{number + 1}", do, ready)

    return tuple(phase(number) for number in range(len(BLIND[name]([message("any")]))))


def update(name: str, change: Callable[[list[Any]], list[Any]], **more: Any) -> Op:
    """A fresh copy of the context at this moment, changed."""
    return Op(name, lambda stage: stage.update(change(stage.items()), name), **more)


FRESH = update("a fresh copy", lambda items: items)
NO_CALLS = update("exclude_function_call", without_calls)
MOVED = update("the last item moved to the head", lambda items: [*items[-1:], *items[:-1]])
TRIMMED = update("trimmed to the last two", lambda items: items[-2:])
NOTE = update("a note at the tail", lambda items: [*items, message("note")])
LOADED = update(
    "saved and loaded",
    lambda items: list(llm.ChatContext.from_dict(llm.ChatContext(items).to_dict()).items),
    possible=contexts_can_be_loaded,
)


def _summarise(stage: Stage) -> None:
    stage.update([message("summary", role="assistant"), *stage.items()], "insert the summary")


def _drop_old(stage: Stage) -> None:
    old = {item.id for item in history()}
    stage.update([i for i in stage.items() if i.id not in old], "delete what it sums up")


SUMMARY = (
    Op("insert the summary", _summarise),
    Op("delete what it sums up", _drop_old, lambda stage: stage.idle),
)


def _save(stage: Stage) -> None:
    stage.tell("saves its context")
    stage.kept["saved"] = llm.ChatContext(stage.items()).to_dict()


def _load(stage: Stage) -> None:
    stage.update(list(llm.ChatContext.from_dict(stage.kept["saved"]).items), "the saved context")


SAVE = Op("save the context", _save)
LOAD = Op("load what was saved", _load, possible=contexts_can_be_loaded)


# -- what an agent does with a session ------------------------------------------------------------


def _dispatch(stage: SessionStage) -> None:
    stage.driver.dispatch(stage.waiting()[0])


def _answer(stage: SessionStage) -> None:
    stage.answer([call for call in stage.driver.calls if call.call_id in _running(stage)])


def _running(stage: SessionStage) -> list[str]:
    begun = [what for kind, what in stage.world.chronicle if kind == "started"]
    return begun + stage.started


START = Op("start the tool", _dispatch, lambda stage: bool(stage.waiting()))
ANSWER = Op("give the output", _answer, lambda stage: bool(_running(stage)))


def _session_interrupts(stage: SessionStage) -> None:
    stage.tell("cancels the response")
    stage.world.loop.call(stage.driver.session.interrupt)


def _ask(stage: SessionStage) -> None:
    stage.tell("asks for a reply")
    stage.kept["reply"] = stage.driver.ask_for_reply()


def _give_up(stage: SessionStage) -> None:
    stage.tell("gives the reply up")
    stage.world.loop.call(stage.kept["reply"].cancel)


CANCEL = Op("cancel the response", _session_interrupts)
ASK, GIVE_UP = Op("ask for a reply", _ask), Op("give the reply up", _give_up)


def _coroutine(name: str, make: Callable[[Any], Any], **more: Any) -> Op:
    def do(stage: Stage) -> None:
        stage.watch(stage.world.start(make(stage), name), name)

    return Op(name, do, **more)


INSTRUCT = _coroutine("update_instructions", lambda s: s.driver.session.update_instructions("Hi."))


def _close(stage: Stage) -> None:
    stage.ended = True
    stage.note("exit")
    stage.watch(stage.world.start(stage.driver.session.aclose(), "close"), "close")


CLOSE = Op("close", _close)

# -- what an application does with an agent -------------------------------------------------------


def _interrupt(stage: AgentStage) -> None:
    stage.tell("interrupts")
    stage.note("exit")
    stage.world.loop.call(stage.driver.session.interrupt)


def _reply(stage: AgentStage) -> None:
    stage.tell("generate_reply")
    stage.note("asks")
    stage.world.loop.call(stage.driver.session.generate_reply)


def _speech_tasks(stage: AgentStage) -> list[Any]:
    return list(getattr(stage.driver.session.current_speech, "_tasks", []))


def _cancel_tasks(stage: AgentStage) -> None:
    stage.tell("cancels the speech's tasks, as after an interruption that takes too long")
    stage.note("exit")
    stage.world.loop.call(lambda: [task.cancel() for task in _speech_tasks(stage)])


TASKS_CANCELLED = Op("cancel the tasks", _cancel_tasks, lambda stage: bool(_speech_tasks(stage)))
INTERRUPT = Op("interrupt", _interrupt)
REPLY = Op("generate_reply", _reply)
SWITCH = Op("update_agent", lambda stage: stage.switch())
AGENT_INSTRUCT = _coroutine(
    "update_instructions",
    lambda stage: stage.driver.session.current_agent.update_instructions("Be brief."),
    possible=lambda: agent_changes("instructions"),
)
TOOLS = _coroutine(
    "update_tools",
    lambda stage: stage.driver.session.current_agent.update_tools([stage.driver.tools.lookup]),
    possible=lambda: agent_changes("tools"),
)
TOOL_REMOVED = _coroutine(
    "update_tools without the tool",
    lambda stage: stage.driver.session.current_agent.update_tools([stage.driver.tools.book]),
    possible=lambda: agent_changes("tools"),
)

"""Contexts that an application passes to ``update_chat_ctx``: each a list of phases, each phase the
items of one update. All of them leave out whatever was announced after ``before`` was taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from livekit.agents import llm

Items = list[Any]


def message(item_id: str, role: Any = "user") -> llm.ChatMessage:
    """A chat message with a fixed id and a text that names it."""
    return llm.ChatMessage(id=item_id, role=role, content=[f"text of {item_id}"])


def history() -> Items:
    return [message("user_1"), message("assistant_1", role="assistant"), message("user_2")]


def answered_call(call_id: str = "call_0") -> Items:
    """A finished call of an earlier conversation, with its output."""
    call = llm.FunctionCall(id="fnc_0", call_id=call_id, name="lookup", arguments="{}")
    output = llm.FunctionCallOutput(id="out_0", call_id=call_id, output="done", is_error=False)
    return [call, output]


def is_talk(item: Any) -> bool:
    """Whether it is an item of the conversation, not a record that an agent keeps for itself."""
    return item.type in ("message", "function_call", "function_call_output")


def ids(context: llm.ChatContext) -> list[str]:
    return [item.id for item in context.items]


def without_calls(items: Sequence[Any]) -> Items:
    return list(llm.ChatContext(list(items)).copy(exclude_function_call=True).items)


def _summary() -> llm.ChatMessage:
    return message("summary", role="assistant")


BLIND: dict[str, Callable[[Items], list[Items]]] = {
    "stale-snapshot": lambda before: [before],
    "one-shot-summary": lambda before: [[_summary()]],
    "two-phase-head": lambda before: [[_summary(), *before], [_summary()]],
    "two-phase-tail": lambda before: [[*before, _summary()], [_summary()]],
    "trimmed": lambda before: [before[-1:]],
    "emptied": lambda before: [[]],
}

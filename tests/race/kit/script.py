"""What a simulated model answers: a response is a tuple of items and the way it ends."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["completed", "cancelled", "failed", "incomplete"]


@dataclass(frozen=True)
class Say:
    """An assistant message: text, or text with ``seconds`` of silent audio (audio modality)."""

    text: str = "One moment."
    id: str = "msg_1"
    seconds: float = 0.2


@dataclass(frozen=True)
class Call:
    """A function call. ``arguments`` is the JSON text that the model writes."""

    name: str = "lookup"
    arguments: str = json.dumps({"city": "Delft"})
    id: str = "fnc_1"
    call_id: str = "call_1"


@dataclass(frozen=True)
class Answer:
    """A tool output that the server makes itself (a model that answers its own calls)."""

    call_id: str = "call_1"
    output: str = "22 degrees"
    id: str = "answer_1"


Item = Say | Call | Answer


@dataclass(frozen=True)
class Response:
    """One response.

    Args:
    items: what is generated, in order.
    status: how ``response.done`` describes the end.
    cut: if true, generation stops inside the last item (before its arguments or text are done).
    item_done: with ``cut``, whether ``response.output_item.done`` (incomplete) is still sent.
    """

    items: tuple[Item, ...] = field(default_factory=lambda: (Say("Done.", id="msg_reply"),))
    status: Status = "completed"
    cut: bool = False
    item_done: bool = True


def names_of(call_id: str) -> tuple[str, str]:
    """A call's id, and how clients from 1.6.5 on write one of more than 32 characters."""
    short = hashlib.sha256(call_id.encode()).hexdigest()[:32]
    return call_id, (short if len(call_id) > 32 else call_id)

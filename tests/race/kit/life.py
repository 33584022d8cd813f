"""Harmless lives: what came before a schedule, and what is around it.

No guard may depend on any of this, so no check may either. A real call lasts minutes: it has had
finished turns, a long history, lost connections; other sessions run in the same process, and other
vendors have other options and ids. ``LIVES`` meets every pair of values of these factors.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .script import Answer, Call, Item, Response

T = TypeVar("T")
FACTORS: dict[str, Sequence[Any]] = {
    "turns": (0, 12),
    "past": ("none", "talk", "media"),
    "reconnects": (0, 1, 2),
    "seconds": (0.0, 60.0),
    "behind": (False, True),
    "neighbours": (0, 2),
    "vendor": ("openai", "azure", "proxy"),
    "audio": (False, True),
    "ids": ("short", "openai", "uuid"),
    "handed_over": (False, True),
    "moment": ("announced", "written", "complete"),
}


@dataclass(frozen=True)
class Life:
    """One combination of values; number 0 is young, small and alone.

    Args:
    turns: finished turns before, each with a question, an answered call and a reply.
    past: what the conversation starts with: nothing, a hundred items of talk, or with images and
        audio among them.
    reconnects: connections that were lost before.
    seconds: how long passes before each move, as far as no timer of the client ends sooner.
    behind: whether the caller speaks while each call or answer is announced, so that an item is
        behind it.
    neighbours: other sessions in the process, each with a call of the same ids in flight.
    vendor: whose options the model has.
    audio: whether the model speaks, where it can be told.
    ids: of items and calls: the scenario's own, like OpenAI's, or like xAI's (UUIDs for items,
        43 characters for calls).
    handed_over: whether the session was another agent's before.
    moment: how far the first call is when the client acts; it acts as soon as it can from then on.
    """

    number: int = 0
    turns: int = 0
    past: str = "none"
    reconnects: int = 0
    seconds: float = 0.0
    behind: bool = False
    neighbours: int = 0
    vendor: str = "openai"
    audio: bool = False
    ids: str = "short"
    handed_over: bool = False
    moment: str = "complete"


YOUNG = Life()
# a covering array of strength 2, by covertable; tests/toolkit/test_proof_lives.py makes it again
_ROWS: tuple[tuple[Any, ...], ...] = (
    (12, "none", 1, 0.0, True, 2, "azure", False, "uuid", True, "written"),
    (0, "talk", 1, 60.0, False, 0, "proxy", True, "short", False, "complete"),
    (12, "media", 0, 60.0, False, 0, "openai", False, "openai", True, "announced"),
    (0, "media", 2, 0.0, False, 2, "azure", True, "openai", False, "written"),
    (12, "talk", 2, 0.0, True, 0, "proxy", False, "uuid", False, "announced"),
    (0, "none", 2, 60.0, True, 2, "openai", True, "short", True, "complete"),
    (0, "talk", 1, 0.0, True, 0, "openai", False, "openai", False, "written"),
    (12, "media", 1, 0.0, True, 2, "proxy", True, "short", True, "announced"),
    (0, "none", 0, 0.0, False, 0, "proxy", True, "openai", False, "complete"),
    (0, "none", 0, 60.0, False, 0, "azure", True, "uuid", False, "announced"),
    (12, "talk", 0, 0.0, True, 2, "azure", False, "short", True, "complete"),
    (0, "media", 0, 0.0, False, 0, "openai", False, "uuid", False, "complete"),
    (0, "none", 0, 60.0, False, 0, "proxy", False, "short", False, "written"),
)
LIVES = tuple(Life(number, *row) for number, row in enumerate(_ROWS, start=1))


def uncovered(lives: Iterable[Life]) -> list[tuple[str, Any, str, Any]]:
    """The pairs of values of two factors that no life has."""
    there = [*lives]
    names = list(FACTORS)
    return [
        (one, first, other, second)
        for number, one in enumerate(names)
        for other in names[number + 1 :]
        for first in FACTORS[one]
        for second in FACTORS[other]
        if not any((getattr(x, one), getattr(x, other)) == (first, second) for x in there)
    ]


# -- ids ------------------------------------------------------------------------------------------


def renamed(item: T, ids: str) -> T:
    """A scripted item with the ids of a life; references between items stay what they were."""
    if ids == "short" or not isinstance(item, Item):
        return item
    item = replace(item, id=item_id(item.id, ids))
    if isinstance(item, Call | Answer):
        item = replace(item, call_id=call_id(item.call_id, ids))
    return item


def renamed_response(response: Response, ids: str) -> Response:
    return replace(response, items=tuple(renamed(item, ids) for item in response.items))


def item_id(name: str, ids: str) -> str:
    if ids == "uuid":
        return str(uuid.UUID(bytes=_digest(name)[:16]))
    return f"item_{_digest(name).hex()[:21]}" if ids == "openai" else name


def call_id(name: str, ids: str) -> str:
    if ids == "uuid":
        return f"call-{uuid.UUID(bytes=_digest(name)[:16])}-0"
    return f"call_{_digest(name).hex()[:16]}" if ids == "openai" else name


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()

"""A fault to plant: does the suite notice it here? A suite that notices nothing proves nothing."""

from __future__ import annotations

import functools
from typing import Any

from .features import FLAVOURS, session_class


def plant() -> None:
    """From here on every update of a context deletes all function calls from the server, in flight
    or not, on every client that this release has."""
    for flavour in FLAVOURS.values():
        if flavour.missing() is None:
            _plant_in(session_class(flavour.find()))


def _plant_in(client: Any) -> None:
    update = client.update_chat_ctx

    @functools.wraps(update)
    async def planted(self: Any, *args: Any, **options: Any) -> None:
        for item in self.chat_ctx.items:
            if item.type == "function_call":
                self.send_event({"type": "conversation.item.delete", "item_id": item.id})
        await update(self, *args, **options)

    client.update_chat_ctx = planted

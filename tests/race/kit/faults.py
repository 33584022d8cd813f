"""A fault of upstream's own that the tests go round: found by doing, on official and patched alike.

No function call takes part, so that no fault of the flag can look like it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from .agent import AgentDriver
from .contexts import is_talk, message
from .features import FLAVOURS
from .session import SessionDriver


@functools.cache
def records_refused(client: str) -> str | None:
    """Why contexts go to a client (a name in ``FLAVOURS``) without the agent's records, or None.

    An agent keeps records of its own in its context. Since 1.4.0 one is there from the start, and
    some releases have sessions that take it for an item of the conversation: every update with it
    fails, and an application can but leave it out. A session that takes no context at all is
    another matter, which the tests shall see. To be asked while there is no other world.
    """
    records = agents_records(client)
    if not records or refusal(client, []) or not (reason := refusal(client, records)):
        return None
    return (
        f"upstream's own fault: the {client} session of this release cannot take the records that "
        f"its agents keep in their context, so the tests pass contexts without them: {reason}"
    )


def agents_records(client: str) -> list[Any]:
    """What an agent's context has as soon as it is started, apart from any conversation."""
    driver = AgentDriver(FLAVOURS[client])
    try:
        return [item for item in driver.items() if not is_talk(item)]
    finally:
        driver.world.close()


def refusal(client: str, records: Sequence[Any]) -> str:
    """How an update of a new session with ``records`` and a message fails, or nothing."""
    driver = SessionDriver(FLAVOURS[client])
    try:
        driver.world.finish(driver.update([*records, message("user_1")], "an agent's context"))
    except Exception as error:  # noqa: BLE001 - which one, is for upstream to say
        return f"{type(error).__name__}: {error}"
    finally:
        driver.world.close()
    return ""

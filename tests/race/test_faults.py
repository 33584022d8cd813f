"""What is gone round for upstream's own fault: that fault, and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kit import faults
from kit.agent import AgentDriver
from kit.contexts import message
from kit.features import FLAVOURS, Flavour, session_class
from kit.session import SessionDriver

pytestmark = pytest.mark.race(check="contract")

CLIENT = "openai"
RECORD = message("record")


@pytest.mark.parametrize(
    ("refused", "excused"),
    [({RECORD.id}, True), ({RECORD.id, "user_1"}, False), ({"fnc_1"}, False)],
    ids=["an agent's record", "everything", "a call"],
)
def test_the_fault_that_is_gone_round(
    monkeypatch: pytest.MonkeyPatch, refused: set[str], excused: bool
) -> None:
    client = session_class(FLAVOURS[CLIENT].find())
    update = client.update_chat_ctx

    async def faulty(self: Any, context: Any) -> None:
        if refused.intersection(item.id for item in context.items):
            raise TypeError("planted")
        await update(self, context)

    monkeypatch.setattr(client, "update_chat_ctx", faulty)
    monkeypatch.setattr(faults, "agents_records", lambda name: [RECORD])
    reason = faults.records_refused.__wrapped__(CLIENT)
    assert (reason is not None and reason.endswith(" TypeError: planted")) == excused


def test_an_agents_own_records(start_agent: Callable[..., AgentDriver], flavour: Flavour) -> None:
    """They are no items of the conversation; skipped where they cannot be passed."""
    if reason := faults.records_refused(flavour.name):
        pytest.skip(reason)
    driver = start_agent()
    driver.world.finish(driver.update(driver.items(), "a fresh copy"))
    assert driver.world.server.ids() == []


@pytest.mark.clients("openai", "beta")
def test_an_item_of_no_type_is_refused(driver: SessionDriver) -> None:
    """As the beta session of some releases makes of such a record; the connection stays."""
    event = {"type": "conversation.item.create", "item": {"id": "item_1"}, "event_id": "event_1"}
    driver.world.loop.call(lambda: driver.session.send_event(event))
    driver.world.exchange()
    assert [error["code"] for error in driver.world.server.errors] == ["missing_required_parameter"]
    assert driver.world.connections == 1

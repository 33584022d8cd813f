"""The explorer's judge: what it makes of the life of a call, told mark by mark."""

from __future__ import annotations

from typing import Any

import pytest
from kit.explore import tiers
from kit.explore.judge import Judgement
from kit.explore.requests import Requests
from kit.explore.session_space import CALL
from kit.loop import VirtualLoop

pytestmark = pytest.mark.race(check="contract")


CREATED = ("heard", {"type": "response.created", "response": {"metadata": None}})


def _life(*marks: Any) -> list[tuple[str, Any]]:
    """The chronicle of a call up to its completion, and what comes then."""
    item = {"id": CALL.id, "type": "function_call", "status": "completed"}
    return [
        *(CREATED, ("generation", 0)),
        ("heard", {"type": "response.output_item.added", "item": item}),
        ("heard", {"type": "response.output_item.done", "item": item}),
        *marks,
    ]


def _handed(arguments: str = CALL.arguments) -> tuple[str, Any]:
    return "handed", (CALL.call_id, arguments)


GONE = ("sent", {"type": "conversation.item.delete", "item_id": CALL.id})
DONE = ("heard", {"type": "response.done"})
STARTED = ("started", CALL.call_id)
LEAVES_OUT: tuple[str, Any] = ("update", (0, frozenset(), frozenset([CALL.id])))


@pytest.mark.parametrize(
    ("marks", "violations"),
    [
        ((_handed(), STARTED, DONE), set()),
        ((_handed(""), STARTED, DONE), {"arguments"}),
        ((_handed(), _handed(), STARTED), {"twice"}),
        ((_handed(), GONE, DONE, STARTED), {"deleted-in-flight"}),
        ((GONE, _handed(), STARTED), {"deleted-in-flight"}),
        ((_handed(), STARTED, GONE), set()),
        ((DONE, GONE), {"deleted-in-flight"}),
        ((_handed(), DONE, ("exit", None), GONE), set()),
        ((_handed(), STARTED, LEAVES_OUT, ("updated", (0, None))), {"undeletable"}),
        ((_handed(), STARTED, LEAVES_OUT, GONE, ("updated", (0, None))), set()),
        ((_handed(), LEAVES_OUT, ("updated", (0, None)), STARTED), set()),
        ((_handed(), STARTED, LEAVES_OUT, ("updated", (0, "it timed out"))), set()),
        ((("heard", {"type": "hang-up"}), GONE), set()),
    ],
)
def test_the_judge(marks: tuple[tuple[str, Any], ...], violations: set[str]) -> None:
    judgement = Judgement(tiers.find("session/openai/call/close"))
    judgement.read(_life(*marks))
    judgement.counts()
    assert judgement.violations - {"not-started"} == violations


def test_a_call_that_is_never_handed_over() -> None:
    judgement = Judgement(tiers.find("session/openai/call/close"))
    judgement.read(_life(DONE))
    judgement.counts()
    assert judgement.violations == {"not-started"}


def test_a_call_is_handed_over_once_and_complete() -> None:
    """Before its arguments were written it is not, whatever becomes of it then."""
    judgement = Judgement(tiers.find("session/openai/call/close"))
    *announced, written = _life()
    judgement.read([*announced, _handed(""), written, _handed(), STARTED, DONE])
    judgement.counts()
    assert judgement.violations == {"arguments", "twice"}


@pytest.mark.parametrize(
    ("marks", "state"),
    [
        (("heard", {"type": "input_audio_buffer.speech_started"}), "over"),
        (("exit", None), "over"),
        (None, "limbo"),
    ],
)
def test_an_agent_is_done_with_what_it_only_heard_of(marks: Any, state: str) -> None:
    """Whether or not the server ever ends the response."""
    judgement = Judgement(tiers.find("agent/openai/call/given-up"))
    judgement.read([*_life()[:-1], *([marks] if marks else [])])
    judgement.come_to_rest()
    assert judgement.state[CALL.id] == state


@pytest.mark.parametrize(
    ("marks", "state"),
    [
        ((STARTED,), "started"),
        ((), "complete"),
        ((CREATED, STARTED, DONE), "started"),
        ((CREATED, DONE), "limbo"),
        ((DONE, CREATED, DONE), "complete"),
    ],
    ids=["runs", "waits", "runs, superseded", "waits, superseded", "waits, ended"],
)
def test_a_response_that_never_ends(
    monkeypatch: pytest.MonkeyPatch, marks: tuple[tuple[str, Any], ...], state: str
) -> None:
    """Another takes its place: an agent waits for it for ever, and nobody owes its call a start."""
    monkeypatch.setattr("kit.explore.judge.agent_knows_calls", lambda: True)
    judgement = Judgement(tiers.find("agent/openai/call/interrupt"))
    judgement.read(_life(*marks))
    judgement.come_to_rest()
    assert judgement.state[CALL.id] == state


OUTPUT = {"id": "out_1", "type": "function_call_output", "call_id": CALL.call_id}
ANSWERED = ("sent", {"type": "conversation.item.create", "item": OUTPUT})


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize(
    ("marks", "lost_unless_held"),
    [
        ((STARTED, GONE), {"deleted-in-flight"}),
        ((STARTED, ANSWERED, GONE), set()),
        ((STARTED, ("exit", None), GONE), set()),
    ],
    ids=["running", "answered", "interrupted"],
)
def test_a_call_that_no_agent_holds(
    monkeypatch: pytest.MonkeyPatch, marks: Any, lost_unless_held: set[str], held: bool
) -> None:
    """No context can keep it while its tool runs, so it is in flight until its output goes out."""
    monkeypatch.setattr("kit.explore.judge.agent_knows_calls", lambda: held)
    judgement = Judgement(tiers.find("agent/openai/call/interrupt"))
    judgement.read(_life(*marks))
    assert judgement.violations == (set() if held else lost_unless_held)


def test_a_failure_that_nobody_hears_of() -> None:
    async def fail() -> None:
        raise RuntimeError("nobody asks")

    loop = VirtualLoop()
    heard = loop.create_task(fail())
    loop.create_task(fail())
    loop.settle()
    assert heard.exception() is not None
    assert [str(error) for error in loop.unheard()] == ["nobody asks"]
    assert loop.unheard() == []
    loop.close()


def test_a_reply_that_was_given_up() -> None:
    requests = Requests()
    requests.ask()
    requests.goes_out("first")
    requests.ask()
    requests.give_up()
    requests.goes_out("second")
    requests.ask()
    requests.goes_out("third")
    assert [requests.wanted(name) for name in ("first", "second", "third", None)] == [
        *(False, False),
        *(True, True),
    ]

"""What an installed release can do, found by looking: never by its version number."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from livekit.agents import Agent, AgentSession, llm, voice

from .server import Dialect
from .transport import MemoryHTTP

DISTRIBUTIONS = ("livekit-agents", "livekit-plugins-openai", "livekit-plugins-xai")


@dataclass(frozen=True)
class Flavour:
    """A realtime client that shares the OpenAI engine: how to import it, how to make a model.

    ``ordered`` is false for clients that put every item announced without a predecessor at the
    end, as their own provider means it: their mirror may differ from the server's in order.
    ``needs_tools`` is true for clients that drop the calls of tools they were not given, and
    ``on_azure`` for those that Azure has too.
    """

    name: str
    module: str
    attribute: str
    model_name: str | None = "gpt-realtime"
    ordered: bool = True
    needs_tools: bool = False
    on_azure: bool = False

    def find(self) -> Any:
        """The model's class. Raises LookupError, with the reason, if this release has none."""
        try:
            found = getattr(importlib.import_module(self.module), self.attribute)
        except (ImportError, AttributeError) as error:
            raise LookupError(f"no {self.name} realtime client here: {error}") from None
        session = session_class(found)
        if not (hasattr(session, _GA_HANDLER) or hasattr(session, _BETA_HANDLER)):
            raise LookupError(f"{self.name}'s realtime client does not share the OpenAI engine")
        handed = dict.fromkeys(inspect.signature(llm.RealtimeModel.session).parameters)
        try:
            inspect.signature(found.session).bind(**handed)
        except TypeError as error:
            raise LookupError(f"no agent can start {self.name}'s client: {error}") from None
        return found

    @property
    def dialect(self) -> Dialect:
        """The server's event names that this client understands."""
        return "ga" if hasattr(session_class(self.find()), _GA_HANDLER) else "beta"

    @property
    def writes(self) -> bool:
        """Whether the model can be asked to write only; else it always speaks."""
        return accepts(self.find().__init__, "modalities")

    @property
    def reconnects(self) -> bool:
        """Whether a session opens a new connection when it has lost one."""
        return hasattr(session_class(self.find()), "_run_ws")

    def missing(self) -> str | None:
        """Why this release has no such client, or None if it has one."""
        try:
            self.find()
        except LookupError as error:
            return str(error)
        return None

    def model(
        self,
        http: MemoryHTTP,
        *,
        audio: bool = False,
        vendor: str = "openai",
        server_turns: bool = False,
    ) -> Any:
        """A model that connects through ``http``.

        audio: speak, or write only. server_turns: keep the default server-side turn detection.
        vendor: "openai"; "azure", where the client can be made so; or "proxy", another address
        and as many other options as the client takes.
        """
        cls = self.find()
        wanted = {
            "model": self.model_name,
            "api_key": "a-key-that-signs-nothing-and-is-long-enough",
            "api_secret": "a-secret-that-signs-nothing-and-is-long-enough",
            "base_url": "http://realtime.invalid/v1",
            "http_session": http,
            "modalities": ["text", "audio"] if audio else ["text"],
            "turn_detection": None,
            "input_audio_transcription": None,
            "max_session_duration": None,
        }
        if vendor == "proxy":
            wanted |= _OTHER_OPTIONS
        if server_turns:
            del wanted["turn_detection"]
        if self.model_name is None:
            del wanted["model"]
        if vendor == "azure" and self.on_azure and hasattr(cls, "with_azure"):
            model = _on_azure(cls.with_azure, wanted)
            if isinstance(model, cls):
                return model
        return cls(**_accepted(cls.__init__, wanted))


def _on_azure(make: Callable[..., Any], wanted: Mapping[str, Any]) -> Any:
    """The model that a release has for Azure, which may be another class; None if it has none."""
    azure = {"azure_deployment": "voice", "azure_endpoint": "http://azure.invalid"}
    options = _accepted(make, {**wanted, **azure, "base_url": None})
    # some releases cannot do without a version, others speak an older protocol if they get one
    for version in ({}, {"api_version": "2025-04-01-preview"}):
        with contextlib.suppress(ValueError, TypeError):
            return make(**options, **version)
    return None


def _accepted(function: Callable[..., Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    accepted = inspect.signature(function).parameters
    return {key: value for key, value in wanted.items() if key in accepted}


_OTHER_OPTIONS = {
    "base_url": "http://proxy.invalid/realtime/v1",
    "voice": "verse",
    "speed": 1.2,
    "tool_choice": "auto",
    "max_response_output_tokens": 1000,
}
_INFERENCE = ("livekit.agents.inference.realtime", "RealtimeModel")
FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour("openai", "livekit.plugins.openai.realtime", "RealtimeModel", on_azure=True),
        Flavour(
            "beta",
            "livekit.plugins.openai.realtime.realtime_model_beta",
            "RealtimeModelBeta",
            on_azure=True,
        ),
        Flavour("inference", *_INFERENCE, model_name="openai/gpt-realtime"),
        Flavour("inference-xai", *_INFERENCE, model_name="xai/grok-voice", ordered=False),
        Flavour(
            "xai",
            "livekit.plugins.xai.realtime",
            "RealtimeModel",
            model_name=None,
            ordered=False,
            needs_tools=True,
        ),
    )
}


# the engine's own names (typing error included): they tell it from other providers' clients
_GA_HANDLER = "_handle_conversion_item_added"
_BETA_HANDLER = "_handle_conversion_item_created"


def session_class(model_class: Any) -> Any:
    """The session that a model class makes (by its annotation's name in the same module)."""
    module = importlib.import_module(model_class.__module__)
    for name in ("RealtimeSession", "RealtimeSessionBeta"):
        if (found := getattr(module, name, None)) is not None:
            return found
    return None


def has_placeholders() -> bool:
    """Whether the agent keeps a placeholder of each item that the server announces."""
    return hasattr(voice.agent_activity.AgentActivity, "_on_remote_item_added")


def agent_knows_calls() -> bool:
    """Whether the agent's own context holds a realtime call from the start of its tool on.

    Where it never does, a call is in flight until its generation is over.
    """
    return hasattr(AgentSession, "_tool_items_added")


def accepts(function: Callable[..., Any], parameter: str) -> bool:
    return parameter in inspect.signature(function).parameters


def call_has_extra() -> bool:
    return "extra" in llm.FunctionCall.model_fields


def call_has_age() -> bool:
    return "created_at" in llm.FunctionCall.model_fields


@functools.cache
def contexts_can_be_loaded() -> bool:
    """Whether a context survives ``to_dict`` and ``from_dict``: some left out the items' types."""
    plain = llm.ChatContext([llm.ChatMessage(role="user", content=["Hello."])])
    try:
        llm.ChatContext.from_dict(plain.to_dict())
    except ValueError:
        return False
    return True


def agent_changes(what: str) -> bool:
    """Whether an agent's "instructions" or "tools" can be changed while it runs."""
    return hasattr(Agent, f"update_{what}")


def messages_can_be_edited() -> bool:
    """Whether an update replaces a message that has the same id and another text."""
    return "to_update" in llm.utils.DiffOps.__dataclass_fields__


def servers_can_answer() -> bool:
    """Whether a model may be said to make the outputs of its own calls."""
    return "auto_tool_reply_generation" in llm.RealtimeCapabilities.__dataclass_fields__


def distributions() -> dict[str, str]:
    """Name and version of each installed distribution that matters here."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

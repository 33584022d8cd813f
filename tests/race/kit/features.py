"""What an installed release can do, found by looking: never by its version number."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from livekit.agents import llm, voice

from .server import Dialect
from .transport import MemoryHTTP

DISTRIBUTIONS = ("livekit-agents", "livekit-plugins-openai", "livekit-plugins-xai")


@dataclass(frozen=True)
class Flavour:
    """A realtime client that shares the OpenAI engine: how to import it, how to make a model.

    ``ordered`` is false for clients that put every item announced without a predecessor at the
    end, as their own provider means it: their mirror may differ from the server's in order.
    ``needs_tools`` is true for clients that drop the calls of tools they were not given.
    """

    name: str
    module: str
    attribute: str
    dialect: Dialect = "ga"
    model_name: str | None = "gpt-realtime"
    ordered: bool = True
    needs_tools: bool = False

    def find(self) -> Any:
        """The model's class. Raises LookupError, with the reason, if this release has none."""
        try:
            found = getattr(importlib.import_module(self.module), self.attribute)
        except (ImportError, AttributeError) as error:
            raise LookupError(f"no {self.name} realtime client here: {error}") from None
        if not hasattr(_session_class(found), "_create_update_chat_ctx_events"):
            raise LookupError(f"{self.name}'s realtime client does not share the OpenAI engine")
        return found

    def missing(self) -> str | None:
        """Why this release has no such client, or None if it has one."""
        try:
            self.find()
        except LookupError as error:
            return str(error)
        return None

    def model(self, http: MemoryHTTP, *, audio: bool = False, server_turns: bool = False) -> Any:
        """A model that connects through ``http``.

        audio: speak, or write only. server_turns: keep the default server-side turn detection.
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
        if server_turns:
            del wanted["turn_detection"]
        if self.model_name is None:
            del wanted["model"]
        accepted = inspect.signature(cls.__init__).parameters
        return cls(**{key: value for key, value in wanted.items() if key in accepted})


_INFERENCE = ("livekit.agents.inference.realtime", "RealtimeModel")
FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour("openai", "livekit.plugins.openai.realtime", "RealtimeModel"),
        Flavour(
            "beta",
            "livekit.plugins.openai.realtime.realtime_model_beta",
            "RealtimeModelBeta",
            dialect="beta",
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


def _session_class(model_class: Any) -> Any:
    """The session that a model class makes (by its annotation's name in the same module)."""
    module = importlib.import_module(model_class.__module__)
    for name in ("RealtimeSession", "RealtimeSessionBeta"):
        if (found := getattr(module, name, None)) is not None:
            return found
    return None


def has_placeholders() -> bool:
    """Whether the agent keeps a placeholder of each item that the server announces."""
    return hasattr(voice.agent_activity.AgentActivity, "_on_remote_item_added")


def accepts(function: Callable[..., Any], parameter: str) -> bool:
    return parameter in inspect.signature(function).parameters


def call_has_extra() -> bool:
    return "extra" in llm.FunctionCall.model_fields


def distributions() -> dict[str, str]:
    """Name and version of each installed distribution that matters here."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

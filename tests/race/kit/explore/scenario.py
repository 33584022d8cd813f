"""What is explored: the server's responses, the client's operations, and who may do what when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ..features import FLAVOURS
from ..life import YOUNG, Life, call_id, item_id, renamed, renamed_response
from ..script import Answer, Call, Item, Response
from ..server import Server

if TYPE_CHECKING:
    from .stage import Stage

Level = Literal["session", "agent"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Op:
    """One operation of the client. ``ready`` depends on nothing but the client's own state;
    ``possible`` says whether this release knows the operation at all."""

    name: str
    do: Callable[[Any], None]
    ready: Callable[[Any], bool] = lambda stage: True
    possible: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Scenario:
    """One space of schedules.

    Args:
    name: unique together with level and flavour; no colon, nothing that a shell expands.
    level: the session alone, or the whole ``AgentSession``.
    responses: what the server says on its own, one after the other.
    ops: the client's operations, in their order, lettered A, B, …; with ``any_order`` each once.
    asked: what the server answers when it is asked, in order.
    server_ops: what else the server may do once: "x" hang up, "s" hear the caller speak, "v" give
        the response up, "a" announce its last item once more.
    client_moves: "t" if tools are let go one by one, "p" if the speaker plays when told, "w" if
        time may pass while the client has no connection; otherwise all that comes at the end.
    calls: the calls that the client itself put on the server, among ``history``.
    never_start: item ids of calls whose tool cannot start.
    needs: whether this release has what the scenario is about.
    ticks: cut at every tick of the loop, not only when the client is at rest; sampled.
    life: what came before, and what is around it.
    """

    name: str
    level: Level
    flavour: str
    responses: tuple[Response, ...]
    ops: tuple[Op, ...] = ()
    asked: tuple[Response, ...] = ()
    any_order: bool = False
    history: Callable[[], list[Any]] = list
    server_ops: str = ""
    client_moves: str = ""
    calls: tuple[Call, ...] = ()
    never_start: frozenset[str] = frozenset()
    audio: bool = False
    unsent: frozenset[str] = frozenset()
    configure: Callable[[Server], None] = field(default=lambda server: None)
    prepare: Callable[[Stage], None] = field(default=lambda stage: None)
    needs: Callable[[], bool] = field(default=lambda: True)
    ticks: bool = False
    life: Life = YOUNG

    def playable(self) -> bool:
        """Whether this release has the client, and that can do what the scenario asks of it."""
        flavour = FLAVOURS[self.flavour]
        able = all(op.possible() for op in self.ops) and self.needs()
        if not able or flavour.missing() is not None:
            return False
        return "x" not in self.server_ops or flavour.reconnects

    @property
    def id(self) -> str:
        life = f"@{self.life.number}" if self.life.number else ""
        return f"{self.level}/{self.flavour}/{self.name}{life}"

    def in_life(self, life: Life) -> Scenario:
        """The same in another life, with the ids and the modality that it has there."""

        def history() -> list[Any]:
            items = self.history()
            for item in items:
                if item.type == "function_call":
                    item.id = item_id(item.id, life.ids)
                if item.type in ("function_call", "function_call_output"):
                    item.call_id = call_id(item.call_id, life.ids)
            return items

        return replace(
            self,
            life=life,
            history=history,
            responses=tuple(renamed_response(r, life.ids) for r in self.responses),
            asked=tuple(renamed_response(r, life.ids) for r in self.asked),
            calls=tuple(renamed(call, life.ids) for call in self.calls),
            never_start=frozenset(item_id(name, life.ids) for name in self.never_start),
            audio=self.audio or (life.audio and FLAVOURS[self.flavour].writes),
        )

    def generated(self) -> dict[str, Call]:
        """The calls that the server makes, by item id."""
        return {item.id: item for item in self._items() if isinstance(item, Call)}

    def guarded(self) -> set[str]:
        """The ids of the calls, and of the outputs, that the server makes."""
        return {item.id for item in self._items() if isinstance(item, Call | Answer)}

    def _items(self) -> list[Item]:
        responses = (*self.responses, *self.asked)
        return [item for response in responses for item in response.items]

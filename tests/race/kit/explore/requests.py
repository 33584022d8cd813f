"""Which of the replies that the client asked for nobody waits for any more."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Requests:
    """An application asks first, and its ``response.create`` goes out some time later; an exit
    gives up both what went out already and what is still to go."""

    _to_go: int = 0
    _doomed: int = 0
    _out: set[str] = field(default_factory=set)
    _given_up: set[str | None] = field(default_factory=set)

    def ask(self) -> None:
        self._to_go += 1

    def goes_out(self, event_id: str) -> None:
        if self._doomed:
            self._doomed -= 1
            self._given_up.add(event_id)
        else:
            self._to_go = max(0, self._to_go - 1)
            self._out.add(event_id)

    def give_up(self) -> None:
        self._given_up |= self._out
        self._doomed += self._to_go
        self._to_go = 0

    def wanted(self, event_id: str | None) -> bool:
        """Whether somebody takes the response to this request, or to none."""
        return event_id not in self._given_up

"""An asyncio event loop on virtual time: no selector, no sockets, no threads, no waiting.

When nothing is ready, time jumps to the next timer. When there is no timer either, the loop is
dead: ``run_until_complete`` fails at once and names the tasks that still wait. A scenario runs
*outside* the loop and steps it: ``settle`` runs what is ready, ``advance`` lets time pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from .clock import clock

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Nothing is ready, no timer is set, and the awaited future is not done."""


class Livelock(RuntimeError):
    """The bound on loop ticks is reached: some task spins."""


class _NoSelector:
    """What ``BaseEventLoop._run_once`` asks for events; it has none, only time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock(self._loop.describe_pending())
        if timeout > 0:
            self._loop.jump(timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one simulated conversation.

    Args:
    max_ticks: the most iterations one test may use before ``Livelock``.
    spin: iterations without progress of time after which a busy-waiting task
        (``while ...: await asyncio.sleep(0)``) counts as waiting, not as ready.
    """

    def __init__(self, *, max_ticks: int = 200_000, spin: int = 400) -> None:
        super().__init__()
        self._selector = _NoSelector(self)
        self._clock_resolution = 1e-9
        self._now = 0.0
        self._max_ticks = max_ticks
        self._spin = spin
        self._spun = 0
        self._until: Callable[[], bool] | None = None
        self.ticks = 0
        self.failures: list[dict[str, Any]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    # -- time ------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds
        self._spun = 0
        clock.elapse(seconds)

    def next_timer(self) -> float | None:
        """Seconds to the next timer that is not cancelled, or None."""
        due = [handle.when() for handle in self._scheduled if not handle.cancelled()]
        return max(0.0, min(due) - self._now) if due else None

    # -- stepping --------------------------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """True if no callback can run before time moves (or all that run only spin)."""
        if self._spun >= self._spin:
            return True
        return not self._ready and self.next_timer() != 0.0

    def settle(self) -> None:
        """Run every callback that can run now; time stands still."""
        self._spun = 0
        self._drive(lambda: self.quiet)
        self._spun = 0

    def tick(self, times: int = 1) -> bool:
        """Run at most so many iterations; return whether anything is left to run now."""
        end = self.ticks + times
        self._spun = 0
        self._drive(lambda: self.ticks >= end or self.quiet)
        return not self.quiet

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, running each timer at its time."""
        end = self._now + seconds
        while True:
            self.settle()
            wait = self.next_timer()
            if wait is None or self._now + wait > end:
                break
            self.jump(wait)
        self.jump(max(0.0, end - self._now))
        self.settle()

    def call(self, fn: Callable[[], T]) -> T:
        """Call ``fn`` inside the loop (so that it may create tasks) and return what it returns."""
        box: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                box.append(fn())
            except BaseException as error:  # noqa: BLE001 - raised again outside the loop
                errors.append(error)

        self.call_soon(run)
        self._drive(lambda: bool(box or errors))
        if errors:
            raise errors[0]
        return box[0]

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        self._tasks.append(task)
        return task

    def unheard(self) -> list[BaseException]:
        """What tasks failed with that nobody asked for; asyncio itself would tell of it when the
        collector runs, which is at no certain time."""
        failed = [task for task in self._tasks if task.done() and task._log_traceback]
        return [error for task in failed if (error := task.exception()) is not None]

    def _drive(self, until: Callable[[], bool]) -> None:
        self._until = until
        try:
            self.run_forever()
        finally:
            self._until = None

    def _run_once(self) -> None:
        if self._until is not None and self._until():
            self._stopping = True
            return
        self.ticks += 1
        self._spun += 1
        if self.ticks > self._max_ticks:
            raise Livelock(f"{self.ticks} loop ticks and no end:\n{self.describe_pending()}")
        if self._until is None and self._spun > self._spin and (wait := self.next_timer()):
            self.jump(wait)
        super()._run_once()

    def describe_pending(self) -> str:
        tasks = sorted(task.get_name() for task in asyncio.all_tasks(self))
        waiting = ", ".join(tasks) or "none"
        return f"deadlock at {self._now:.3f} s; these tasks still wait: {waiting}"

    # -- what BaseEventLoop leaves to the platform ------------------------------------------

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        raise RuntimeError(f"{func!r} wants a thread; a simulated session has none")

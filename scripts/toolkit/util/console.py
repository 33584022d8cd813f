"""What a verb shows of its work: live on a terminal, tables in both, nothing else in a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.util.process import interrupted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn

# Shows that a step runs, and the last line of each log of the programs that do it.
StepStatus = Callable[[str, Sequence[Path]], AbstractContextManager[None]]

_TAIL = 400  # bytes of a log in which its last line is looked for
_LOG_WIDTH = 160  # characters; a log has no width to fit into


def _terminal() -> Console | None:
    """Return a console on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console

    return Console(stderr=True)


def no_status(step: str, logs: Sequence[Path]) -> AbstractContextManager[None]:
    """Show nothing, as a StepStatus for a step of something that is shown already."""
    return nullcontext()


@contextmanager
def step_status(step: str, logs: Sequence[Path] = ()) -> Iterator[None]:
    """Show ``step`` and the last line of each log, named by the log's stem."""
    console = _terminal()
    if console is None:
        yield
        return
    from rich.live import Live
    from rich.spinner import Spinner

    spinner = Spinner("dots")

    def render() -> Spinner:
        lines = [f"{path.stem}: {line}" for path in logs if (line := last_line(path))]
        spinner.update(text=" | ".join([step, *lines]))
        return spinner

    with Live(get_renderable=render, console=console, transient=True):
        yield


def last_line(path: Path) -> str:
    """Return the last line that a file holds so far; empty if there is none."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        lines = file.read().decode("utf-8", "replace").splitlines()
        return lines[-1].strip() if lines else ""
    return ""


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Yield what to call, with a few words, whenever one of ``total`` items is done."""
    console = _terminal() if total > 1 else None
    if console is None:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with _progress(console, title, total, *columns, TextColumn("{task.fields[last]}")) as update:
        yield lambda last: update(advance=1, last=last)


@contextmanager
def download_progress(title: str, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yield what to call with every number of bytes that arrives.

    On a terminal that shows them. Elsewhere, or if ``quiet``, it raises KeyboardInterrupt once
    other threads are to end.
    """
    console = None if quiet else _terminal()
    if console is None:
        yield _stop_if_interrupted
        return
    from rich.progress import DownloadColumn, TransferSpeedColumn

    columns = (DownloadColumn(), TransferSpeedColumn())
    with _progress(console, f"fetching {title}", None, *columns) as update:
        yield lambda size: update(advance=size)


@contextmanager
def _progress(
    console: Console, title: str, total: int | None, *columns: ProgressColumn
) -> Iterator[Callable[..., None]]:
    from rich.progress import Progress, TextColumn

    with Progress(
        TextColumn("{task.description}"), *columns, console=console, transient=True
    ) as bar:
        task = bar.add_task(title, total=total, last="")
        yield lambda **changes: bar.update(task, **changes)


def _stop_if_interrupted(_: int) -> None:
    if interrupted():
        raise KeyboardInterrupt


def print_table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    folded: Collection[str] = (),
    title: str | None = None,
    log_width: int = _LOG_WIDTH,
) -> None:
    """Print a table on standard output, as wide as the terminal, or ``log_width`` in a log.

    Columns named in ``folded`` are broken into lines where there is no room.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD)
    for name in head:
        table.add_column(name, overflow="fold" if name in folded else "ellipsis")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else log_width
    Console(highlight=False, markup=False, width=width).print(table)

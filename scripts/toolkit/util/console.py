"""Progress on a terminal; in a log, nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from toolkit.util.http import Progress
from toolkit.util.process import interrupted

# Says that a step begins, and into which files those that do it say how far they are.
StepStatus = Callable[[str, Sequence[Path]], AbstractContextManager[None]]

_TAIL = 400


def no_status(step: str, said: Sequence[Path]) -> AbstractContextManager[None]:
    """Says nothing, for work that somebody else watches."""
    return nullcontext()


@contextmanager
def step_status(step: str, said: Sequence[Path] = ()) -> Iterator[None]:
    """Show ``step``, and beside it the last line of each of the files ``said``, by its stem."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    spinner = Spinner("dots")

    def now() -> Spinner:
        doing = [f"{path.stem}: {line}" for path in said if (line := last_line(path))]
        spinner.update(text=" | ".join([step, *doing]))
        return spinner

    with Live(get_renderable=now, console=Console(stderr=True), transient=True):
        yield


def last_line(path: Path) -> str:
    """The last line that a file holds so far, or nothing."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        lines = file.read().decode("utf-8", "replace").splitlines()
        return lines[-1].strip() if lines else ""
    return ""


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Call what this yields with a few words whenever one of ``total`` is done."""
    if not sys.stderr.isatty() or total < 2:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, last="")
        yield lambda last: bar.update(task, advance=1, last=last)


def _heed(_: int) -> None:
    if interrupted():
        raise KeyboardInterrupt


@contextmanager
def download_progress(title: str, quiet: bool) -> Iterator[Progress]:
    if quiet or not sys.stderr.isatty():
        yield _heed
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"fetching {title}", total=None)
        yield lambda size: bar.update(task, advance=size)

"""What the verbs' command lines have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from .errors import SomeReleasesFailed, ToolkitError
from .fetched import Fetched, fetch_release
from .release import Progress
from .workspace import Workspace

Result = TypeVar("Result")


def parser(description: str | None, *, series: bool = True) -> argparse.ArgumentParser:
    """A parser with the options of every verb that begins with a release."""
    new = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    new.add_argument("--pypi", metavar="URL", help="another simple index than PyPI's (a mirror)")
    new.add_argument("--yanked", action="store_true", help="take a release that was yanked")
    new.add_argument(
        "--offline", action="store_true", help="ask no index: take what it said the last time"
    )
    new.add_argument("--json", action="store_true", help="print JSON")
    if series:
        new.add_argument(
            "--patches", metavar="DIR", type=Path, help="another series than the repository's own"
        )
    return new


def workspace_of(options: argparse.Namespace) -> Workspace:
    """The workspace that the command line names."""
    return Workspace.default(getattr(options, "patches", None))


def fetched(release: str | None, options: argparse.Namespace, workspace: Workspace) -> Fetched:
    """Fetch one release as the command line says, with a progress bar on a terminal."""
    with _progress(str(release or "newest release")) as progress:
        return fetch_release(
            release,
            workspace,
            endpoint=options.pypi,
            yanked=options.yanked,
            offline=options.offline,
            progress=progress,
        )


def each(releases: Sequence[str], work: Callable[[str | None], Result]) -> list[Result]:
    """Do ``work`` for every release (none named: for the newest), the good ones to their end.

    A single failure of a single release is raised as it is, else SomeReleasesFailed names all.
    """
    if len(releases) <= 1:
        return [work(releases[0] if releases else None)]
    done: list[Result] = []
    failures: list[str] = []
    for release in dict.fromkeys(releases):
        try:
            done.append(work(release))
        except ToolkitError as error:
            failures.append(f"{release}: {type(error).__name__}: {error}")
    if failures:
        raise SomeReleasesFailed(
            "\n".join([f"{len(failures)} of {len(releases)} releases failed:", *failures]),
            next_step="run again for one of these; the others are done",
        )
    return done


@contextmanager
def _progress(title: str) -> Iterator[Progress | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"fetching {title}", total=None)
        yield lambda size: bar.update(task, advance=size)

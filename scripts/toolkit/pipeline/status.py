"""What `status` shows: the support matrix, and how upstream does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from packaging.version import Version

from toolkit.forward.github import GitHub
from toolkit.forward.newest_release import NewestRelease, newest_of
from toolkit.forward.pull_requests import PullRequest, links_of, watch
from toolkit.patches.git_repo import Repository
from toolkit.pipeline.support_matrix import ReleaseStatus, SupportMatrix
from toolkit.releases.catalogue import Catalogue, Entry, Row
from toolkit.util.console import print_table
from toolkit.util.distributions import MAIN
from toolkit.util.errors import CommandFailed, printable
from toolkit.util.markdown import cell, table
from toolkit.util.workspace import Workspace

HEAD = ("release", "official loses calls", "verdict", "rev.", "variants of", "wheels", "remarks")
_LOSES = {True: "yes", False: "no", None: "?"}


def recorded_at(commit: str, workspace: Workspace) -> dict[Version, Row]:
    """Return the rows of releases.toml at a commit of its repository; empty if it had none."""
    path = workspace.catalogue
    root = path.parents[1]
    try:
        data = Repository(root).read(commit, path.relative_to(root).as_posix())
    except CommandFailed as error:
        raise CommandFailed(
            f"{root} has no commit {commit}: {error.problem}",
            next_step="name one that `git log` shows",
        ) from error
    return Catalogue.parse(data or b"", path).rows()


@dataclass(frozen=True)
class StatusReport:
    """All that `status` shows; its fields are keys of `status --json`."""

    releases: tuple[ReleaseStatus, ...]
    upstream: tuple[PullRequest, ...]
    newest: NewestRelease | None

    @classmethod
    def of(
        cls,
        entries: Sequence[Entry],
        existing: Mapping[Version, Entry],
        matrix: SupportMatrix,
        workspace: Workspace,
        *,
        offline: bool,
    ) -> StatusReport:
        """Look up ``entries``, and how upstream does by the releases of ``existing``.

        ``offline`` asks nobody what became of the pull requests that the series names.
        """
        changes: tuple[PullRequest, ...] = ()
        if not offline:
            github = GitHub(workspace.watched)
            changes = watch(links_of(matrix.series), github, _upload_times(existing))
        return cls(
            tuple(matrix.status(entry) for entry in entries),
            changes,
            newest_of(existing, matrix.series, workspace, lambda e: matrix.status(e).loses),
        )

    def print(self) -> None:
        """Print it for people."""
        print_table(HEAD, _rows(self.releases), folded=HEAD[4:])
        width = max((len(change.name) for change in self.upstream), default=0)
        for change in self.upstream:
            print(f"{change.name:<{width}}  {change}{_title(change)}")
        if self.newest:
            print(self.newest)

    def markdown(self) -> str:
        """Return it as Markdown."""
        items = [f"{change.name}: {change}{_title(change)}" for change in self.upstream]
        items += [str(self.newest)] if self.newest else []
        bullets = "\n".join(f"- {cell(item)}" for item in items)
        return f"{table(HEAD, _rows(self.releases))}\n\n{bullets}"


def _upload_times(catalogue: Mapping[Version, Entry]) -> dict[Version, datetime]:
    """Return when the last agents wheel of each release was uploaded."""
    times = {
        version: [a.upload_time for a in entry.official if a.distribution == MAIN]
        for version, entry in catalogue.items()
    }
    return {version: max(uploads) for version, uploads in times.items() if uploads}


def _title(change: PullRequest) -> str:
    return f"  ({change.title})" if change.title else ""


def _rows(statuses: Sequence[ReleaseStatus]) -> Iterator[tuple[str, ...]]:
    """The rows of the table under HEAD; of the variants they name the newest."""
    for status in statuses:
        loses = _LOSES[status.loses] + (f" ({status.official})" if status.official else "")
        remarks = [
            f"yanked: {status.yanked or 'no reason given'}" if status.yanked is not None else "",
            "gone from PyPI" if status.gone else "",
            f"plugin {status.partner}" if status.partner not in ("", status.release) else "",
            status.reason if status.verdict != "publish" else "",
            "" if status.current or status.verdict == "unknown" else "proved with other code",
        ]
        yield (
            status.release,
            loses,
            status.verdict,
            str(status.revision or ""),
            str(max(map(Version, status.variants.values()), default="")),
            " ".join(sorted(w.partition("-")[0].rpartition("_")[2] for w in status.wheels)),
            printable("; ".join(filter(None, remarks))),
        )

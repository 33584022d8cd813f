"""What a change of an index did, for people line by line, for machines as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.index.mirror import Mirrored
    from toolkit.index.publish import ConsumeLines, Publication
    from toolkit.index.retire import Retirement
    from toolkit.index.yank import YankResult


@dataclass
class Report:
    """Collects what happened; lines are printed at once, unless ``as_json``.

    ``dry_run`` says that nothing happened yet.
    """

    as_json: bool
    dry_run: bool = False
    document: dict[str, Any] = field(default_factory=dict)

    def add(self, members: Mapping[str, Any], lines: Sequence[str] = ()) -> None:
        """Add members to the document, or print lines."""
        self.document |= members
        if not self.as_json:
            for line in lines:
                print(line, flush=True)

    def end(self) -> None:
        """Print the document, if JSON is wanted."""
        if self.as_json:
            print(json.dumps(self.document, indent=2))

    def published(self, publication: Publication, commands: ConsumeLines) -> None:
        """Say which files are new, and how to install them."""
        verb = "would publish" if self.dry_run else "published"
        lines = [f"{verb:14} {name}" for name in publication.new]
        lines += [f"already there  {name}" for name in publication.known]
        if not self.dry_run:
            lines += [f"pip: {commands.pip}", f"uv:  {commands.uv}"]
        self.add({**asdict(publication), **asdict(commands)}, lines)

    def yanked(self, result: YankResult, verb: str) -> None:
        """Say which files were yanked, and whether a patched build is left; or were unyanked."""
        verbing = f"would {verb}" if self.dry_run else f"{verb}ed"
        lines = [f"{verbing:14} {name}" for name in result.files] or ["nothing to do"]
        if verb == "yank" and not result.left:
            lines.append(
                "note: no patched build of this release is left; ranges now lead to official wheels"
            )
        self.add({f"{verb}ed": result.files, "left": result.left}, lines)

    def repaired(self, files: int) -> None:
        """Say how many files the pages show."""
        self.add({"files": files}, [f"{files} files, all on their pages"])

    def uploading(self, name: str) -> None:
        """Say that a file is uploaded."""
        self.add({}, [f"{self._uploaded:14} {name}"])

    def mirrored(self, result: Mirrored, simple_url: str) -> None:
        """Say what a server has now."""
        lines = [f"withheld       {name}: yanked or quarantined" for name in result.withheld]
        numbers = f"{len(result.uploaded)} {self._uploaded}, {len(result.known)} already there"
        lines.append(f"{numbers}: {simple_url}")
        self.add({"server": {**asdict(result), "simple": simple_url}}, lines)

    @property
    def _uploaded(self) -> str:
        return "would upload" if self.dry_run else "uploaded"

    def retired(self, retirement: Retirement) -> None:
        """Say what the end of a series changed, or taking it back."""
        changes = [
            *(f"publish  {name}" for name in retirement.new),
            *(f"yank     {name}" for name in retirement.yanked),
            *(f"unyank   {name}" for name in retirement.unyanked),
            *(f"mark     {project} {status}" for project, status in retirement.marked.items()),
            *(f"keep     {name}: a later release" for name in retirement.kept),
        ]
        lines = [f"would {change}" if self.dry_run else change for change in changes]
        if not retirement:
            lines.append("nothing to do")
        elif self.dry_run:
            lines += [
                "note: what is pinned or locked stays; a range that excludes this release may lead",
                "      to official wheels that lose calls; nothing was done yet: --yes does it",
            ]
        self.add({"dry_run": self.dry_run, **asdict(retirement)}, lines)

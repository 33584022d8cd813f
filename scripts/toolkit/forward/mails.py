"""The series as upstream would take it: mails against the monorepo's own files, and the check that
`git am` takes them there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.header import Header
from pathlib import Path

from toolkit.patches.git_repo import PREFIXES, CommitMessage, GitConflict, Repository
from toolkit.patches.notices import apply_without_notices
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.releases.official import Fetched
from toolkit.util.errors import CommandFailed, PatchConflict, UnknownRelease
from toolkit.util.files import not_writable_errors

TAG = "livekit-agents@{release}"
_REF = "refs/heads/forward"
# DEP-3 is for those who carry a patch; whoever takes it has the mail
_FIELDS = re.compile(
    r"^(Description|Origin|Bug(-\w+)?|Forwarded|Author|Last-Update|Applied-Upstream):.*\n?", re.M
)
# as git says it of a mail that is not plain ASCII
_EIGHT_BIT = (
    "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit"
)
# a header that git wrote, folded or not
_FROM = re.compile(r"^From: .*\n(?:[ \t].*\n)*", re.M)
_SIGNED = re.compile(r"^From: .*\n(?:[ \t].*\n)*Date: .*\n", re.M)
_FORMAT = ("--cover-letter", "--zero-commit", "--full-index", "--no-signature", "--no-renames")


def official_files(
    fetched: Fetched, series: Series, variants: Sequence[Variant]
) -> dict[str, bytes]:
    """The official text of every file that the variants touch, by monorepo path."""
    files = {}
    for path in {change.path for variant in variants for change in variant.changes}:
        distribution, member = series.locate(path)
        wheel = next(fetched.each(distribution), None)
        if wheel and member in wheel.members:
            # the repository's own line ends, whatever the wheel was built on
            files[path] = wheel.read(member).replace(b"\r\n", b"\n")
    return files


class Outbox(Repository):
    """A repository that mails are written from."""

    def mails(self, base: str, tip: str, out: Path, reroll: int) -> tuple[Path, ...]:
        """The commits after ``base`` as mails in ``out``, a cover letter before them."""
        version = [f"--reroll-count={reroll}"] if reroll > 1 else []
        words = (
            *_FORMAT,
            *PREFIXES,
            *version,
            f"--output-directory={out.absolute()}",
            f"{base}..{tip}",
        )
        return tuple(
            out / Path(line).name for line in self._run("format-patch", *words).split("\n")
        )


def write_mails(
    variants: Sequence[Variant],
    files: Mapping[str, bytes],
    scratch: Path,
    out: Path,
    *,
    subject: str,
    blurb: str,
    author: str | None = None,
    reroll: int = 1,
) -> tuple[Path, ...]:
    """Write ``variants`` (onto ``files``, by monorepo path) as mails into ``out``; their paths.

    The first is a cover letter with ``subject`` and ``blurb``. ``author`` ("Name <address>") signs
    them all, else each patch's own does; ``reroll`` counts how often the series was sent. Notices
    and DEP-3 fields are left out. The same input gives the same bytes. ``scratch`` is a folder to
    work in, which must not exist.

    Raises PatchConflict if the series does not fit.
    """
    scratch.mkdir(parents=True)
    Repository.create(scratch)
    repository = Outbox(scratch)
    base = tip = repository.commit_files(_REF, files)
    for variant, texts in apply_without_notices(variants, files):
        letter = CommitMessage.of(variant.data)
        message = _FIELDS.sub("", letter.message).rstrip() + "\n"
        letter = replace(letter, author=author or letter.author, message=message)
        tip = repository.commit_files(_REF, texts, letter, tip)
    with not_writable_errors(out):
        cover, *mails = repository.mails(base, tip, out, reroll)
        text = cover.read_text("utf-8").replace("*** BLURB HERE ***", blurb.strip())
        titled = subject if subject.isascii() else Header(subject, "utf-8").encode()
        if not text.isascii() and "\nMIME-Version:" not in text:
            titled += _EIGHT_BIT
        text = text.replace("*** SUBJECT HERE ***", titled)
        # git takes both from the committer, who is nobody
        sender = _FROM.findall(mails[-1].read_text("utf-8"))[0]
        signed = f"{sender}Date: {letter.date}\n"
        text = _SIGNED.sub(lambda _: signed, text, count=1)
        cover.write_text(text, "utf-8")
    return (cover, *mails)


def check_mails(mails: Sequence[Path], files: Mapping[str, bytes], tree: Path, where: str) -> None:
    """Let `git am` apply mails (without the cover letter) to ``files`` in a new folder ``tree``.

    Raises PatchConflict, with git's words and ``where``, if one does not apply.
    """
    for path, data in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    repository = Repository.create(tree)
    repository.commit_all("Official files")
    try:
        repository.am([mail.read_bytes() for mail in mails])
    except GitConflict as error:
        said = [line for line in error.output.splitlines() if line.startswith("error: ")]
        raise PatchConflict(
            f"the mails do not apply to {where}: {'; '.join(said) or error.output}",
            next_step="forward the release that upstream's branch is nearest to",
        ) from error


def files_at(repository: Path, ref: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The files of a clone of upstream's repository (bare or not) as of ``ref``, by path.

    A file that is not there is left out. Raises UnknownRelease if there is no such repository or
    commit.
    """
    clone = Repository(repository)
    try:
        found = {path: clone.read(ref, path) for path in paths}
    except CommandFailed as error:
        raise UnknownRelease(
            f"{repository} has no {ref}: {error.problem}",
            next_step="name another commit with --ref, or another clone with --repo",
        ) from error
    return {path: text for path, text in found.items() if text is not None}

"""The series as mails against upstream's own files, and the check that `git am` applies them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.header import Header
from pathlib import Path

from toolkit.patches.git_repo import PREFIXES, CommitMessage, GitConflict, Repository
from toolkit.patches.notices import apply_without_notices
from toolkit.patches.patchfile import Variant
from toolkit.util.errors import CommandFailed, PatchConflict, UnknownRelease
from toolkit.util.files import not_writable_errors

TAG = "livekit-agents@{release}"
_REF = "refs/heads/forward"
# DEP-3 is for those who carry a patch; whoever takes it has the mail
_FIELDS = re.compile(
    r"^(Description|Origin|Bug(-\w+)?|Forwarded|Author|Last-Update|Applied-Upstream):.*\n?", re.M
)
# what git puts into a mail that is not plain ASCII
_EIGHT_BIT = (
    "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit"
)
# a header that git wrote, folded or not
_FROM = re.compile(r"^From: .*\n(?:[ \t].*\n)*", re.M)
_SIGNED = re.compile(r"^From: .*\n(?:[ \t].*\n)*Date: .*\n", re.M)
_FORMAT = ("--cover-letter", "--zero-commit", "--full-index", "--no-signature", "--no-renames")


@dataclass(frozen=True)
class Sender:
    """Who sends the mails, and how often they were sent.

    ``author`` ("Name <address>") signs them all, else each patch's own author does; the series is
    sent for the ``reroll``-th time.
    """

    author: str | None = None
    reroll: int = 1


@dataclass(frozen=True)
class Clone:
    """A clone of upstream's repository (bare or not), as of the commit ``ref``."""

    path: Path
    ref: str

    def __str__(self) -> str:
        return f"{self.path} at {self.ref}"

    def files(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Read files by path, without those that are not there.

        Raises UnknownRelease if there is no such repository or commit.
        """
        repository = Repository(self.path)
        try:
            files = {path: repository.read(self.ref, path) for path in paths}
        except CommandFailed as error:
            raise UnknownRelease(
                f"{self.path} has no {self.ref}: {error.problem}",
                next_step="name another commit with --ref, or another clone with --repo",
            ) from error
        return {path: text for path, text in files.items() if text is not None}


class Outbox(Repository):
    """A repository that mails are written from."""

    def format_patches(self, base: str, tip: str, out: Path, reroll: int) -> list[Path]:
        """Write the commits after ``base`` into ``out`` as mails, a cover letter before them."""
        version = [f"--reroll-count={reroll}"] if reroll > 1 else []
        options = (*_FORMAT, *PREFIXES, *version, f"--output-directory={out.absolute()}")
        names = self._run("format-patch", *options, f"{base}..{tip}").split("\n")
        return [out / Path(name).name for name in names]


def write_mails(
    variants: Sequence[Variant],
    files: Mapping[str, bytes],
    scratch: Path,
    out: Path,
    letter: tuple[str, str],
    sender: Sender,
) -> tuple[Path, ...]:
    """Write ``variants`` (onto ``files``, by monorepo path) as mails into ``out``; their paths.

    The first is a cover letter with the subject and the text of ``letter``. Notices and DEP-3
    fields are left out. The same input gives the same bytes. ``scratch`` is a folder to work in,
    which must not exist. Raises PatchConflict if the series does not fit.
    """
    # Commit each patch without what only a carried patch needs.
    scratch.mkdir(parents=True)
    Repository.create(scratch)
    repository = Outbox(scratch)
    base = tip = repository.commit_files(_REF, files)
    for variant, texts in apply_without_notices(variants, files):
        message = CommitMessage.of(variant.data)
        text = _FIELDS.sub("", message.message).rstrip() + "\n"
        message = replace(message, author=sender.author or message.author, message=text)
        tip = repository.commit_files(_REF, texts, message, tip)
    with not_writable_errors(out):
        cover, *mails = repository.format_patches(base, tip, out, sender.reroll)
        # Fill in the cover letter.
        subject, blurb = letter
        text = cover.read_text("utf-8").replace("*** BLURB HERE ***", blurb.strip())
        subject = subject if subject.isascii() else Header(subject, "utf-8").encode()
        if not text.isascii() and "\nMIME-Version:" not in text:
            subject += _EIGHT_BIT
        text = text.replace("*** SUBJECT HERE ***", subject)
        # git signs it as the committer, who is nobody
        author = _FROM.findall(mails[-1].read_text("utf-8"))[0]
        signed = f"{author}Date: {message.date}\n"
        cover.write_text(_SIGNED.sub(lambda _: signed, text, count=1), "utf-8")
    return (cover, *mails)


def check_mails(mails: Sequence[Path], files: Mapping[str, bytes], tree: Path, name: str) -> None:
    """Let `git am` apply mails (without the cover letter) to ``files`` in a new folder ``tree``.

    Raises PatchConflict, with git's message, if one does not apply; ``name`` says what to.
    """
    for path, data in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    repository = Repository.create(tree)
    repository.commit_all("Official files")
    try:
        repository.am([mail.read_bytes() for mail in mails])
    except GitConflict as error:
        errors = [line for line in error.output.splitlines() if line.startswith("error: ")]
        raise PatchConflict(
            f"the mails do not apply to {name}: {'; '.join(errors) or error.output}",
            next_step="forward the release that upstream's branch is nearest to",
        ) from error

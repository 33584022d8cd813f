"""A git repository of ours, whose commits depend on input alone."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from toolkit.util.errors import CommandFailed, NotWritable, how_ended, machine_fault_in, step_after
from toolkit.util.git import GitError, git, git_dir_of

_WHO = {"NAME": "livekit-dispatched", "EMAIL": "noreply@invalid", "DATE": "2020-02-02T00:00:00Z"}
# format.noPrefix, whatever its value, takes them away
PREFIXES = ("--src-prefix=a/", "--dst-prefix=b/")
_EXPORT = (
    *PREFIXES,
    "-N",
    "--zero-commit",
    "--full-index",
    "--no-signature",
    "--no-renames",
    "--stdout",
)
_ANSWER = ("--quiet", "--no-verify", "--allow-empty")

# What git says of a patch that it cannot apply, and, for some lines, of a machine.
_REFUSING = re.compile(r"^error: |^Patch format detection failed", re.M)
_UNABLE = re.compile(
    r"^(error|fatal): .*(unable to (write|create|append)|insufficient permission|out of memory)",
    re.M | re.I,
)


class GitConflict(Exception):
    """git stopped at something that a human may resolve; ``output`` is what it printed."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


@dataclass(frozen=True)
class CommitMessage:
    """Who wrote a commit, when (as in RFC 2822), and its whole message."""

    author: str
    date: str
    message: str

    @classmethod
    def own(cls, message: str) -> CommitMessage:
        """Return the message of a commit that the toolkit makes itself, always at the same time."""
        author = f"{_WHO['NAME']} <{_WHO['EMAIL']}>"
        return cls(author, "Sun, 02 Feb 2020 00:00:00 +0000", message)

    @classmethod
    def of(cls, mail: bytes) -> CommitMessage:
        """What `git am` would read from a mail of `git format-patch`."""
        from email.message import EmailMessage
        from email.parser import BytesParser
        from email.policy import default
        from email.utils import parseaddr

        parsed = BytesParser(EmailMessage, policy=default).parsebytes(mail)
        name, address = parseaddr(str(parsed["From"]))
        subject = " ".join(str(parsed["Subject"]).split()).removeprefix("[PATCH]").strip()
        body = mail.partition(b"\n\n")[2].decode("utf-8", "surrogateescape")
        text = body.partition("\n---\n")[0].strip("\n")
        return cls(f"{name} <{address}>", str(parsed["Date"]), f"{subject}\n\n{text}\n")


class Repository:
    """The repository whose work tree is ``path``; it is there already, or :meth:`create` makes it.

    Every method raises CommandFailed if git is missing or fails for a reason of its own, and
    NotWritable if that is a fault of the machine.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._env = {
            "GIT_DIR": str(git_dir_of(path)),
            "GIT_WORK_TREE": str(self.path),
            **{f"GIT_{who}_{key}": _WHO[key] for who in ("AUTHOR", "COMMITTER") for key in _WHO},
        }

    @classmethod
    def create(cls, path: Path) -> Repository:
        """Make an empty one in the folder ``path``."""
        new = cls(path)
        new._env["GIT_DIR"] = str(new.path / ".git")
        new._run("init", "--quiet", "--template=", "--initial-branch=series")
        return new

    @property
    def head(self) -> str:
        """The id of the commit that is checked out."""
        return self._run("rev-parse", "HEAD")

    def commit_all(self, message: str) -> None:
        """Commit what stands in the work tree, ignored files too."""
        self._run("add", "--all", "--force", ".")
        self._run("commit", *_ANSWER, f"--message={message}")

    def amend(self) -> None:
        """Put what stands in the work tree into the last commit; of new files only Python's."""
        self._add()
        self._run("commit", *_ANSWER, "--amend", "--no-edit")

    def am(self, mails: Sequence[bytes]) -> None:
        """Commit each mail in turn, without fuzz or merging; GitConflict if one does not apply."""
        words = ("--quiet", "--keep-cr", "--no-3way", "--no-scissors", "--no-gpg-sign")
        with tempfile.TemporaryFile() as file:
            file.write(b"\n".join(mails))
            file.seek(0)
            try:
                self._git("am", *words, "--whitespace=nowarn", stdin=file)
            except GitError as error:
                if _of_the_machine(error) or not _REFUSING.search(error.output):
                    raise self._failed(error) from error
                raise GitConflict(error.output) from error

    def stopped_at(self) -> int | None:
        """The place, from 0, of the mail that :meth:`am` stopped at."""
        try:
            return int((self.path / ".git/rebase-apply/next").read_text("utf-8")) - 1
        except (OSError, ValueError):
            return None

    def commit_files(
        self,
        ref: str,
        files: Mapping[str, bytes],
        message: CommitMessage | None = None,
        parent: str = "",
    ) -> str:
        """Commit exactly ``files`` under a ref's full name; the work tree stays as it is."""
        own = CommitMessage.own("")
        message = message or own
        text = message.message.encode("utf-8", "surrogateescape")
        stream = [
            f"commit {ref}\nauthor {message.author} {message.date}\n".encode(),
            f"committer {own.author} {own.date}\ndata {len(text)}\n".encode() + text,
            f"\nfrom {parent}\n".encode() if parent else b"\n",
            b"deleteall\n",
        ]
        for path, data in sorted(files.items()):
            stream.append(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
        with tempfile.TemporaryFile() as file:
            file.writelines(stream)
            file.seek(0)
            words = ("--quiet", "--force", "--date-format=rfc2822")
            self._run("fast-import", *words, stdin=file)
        return self._run("rev-parse", ref)

    def checkout(self, commit: str) -> None:
        """Let the branch and the work tree be at ``commit``; what stands there is lost."""
        self._run("reset", "--quiet", "--hard", commit)

    def cherry_pick(self, commit: str, algorithm: str) -> None:
        """Merge what ``commit`` changed into the work tree and commit it: `git cherry-pick`.

        Its parent is the ancestor of the merge. Raises GitConflict if there are conflicts; they
        are then in the work tree.
        """
        words = ("--allow-empty", "--keep-redundant-commits", f"-Xdiff-algorithm={algorithm}")
        try:
            self._git("cherry-pick", *words, commit)
        except GitError as error:
            if _of_the_machine(error) or not self.unmerged():
                raise self._failed(error) from error
            raise GitConflict(error.output) from error

    def is_picking(self) -> bool:
        """Whether a :meth:`cherry_pick` waits for somebody to solve its conflicts."""
        return (self.path / ".git/CHERRY_PICK_HEAD").exists()

    def unmerged(self) -> list[str]:
        """The paths that have conflicts."""
        return self._run("diff", "--name-only", "--diff-filter=U").splitlines()

    def continue_pick(self) -> None:
        """Commit what stands in the work tree as the result of the :meth:`cherry_pick` that waits.

        That may be nothing: `git cherry-pick --continue` would refuse it.
        """
        self._add()
        self._run("commit", *_ANSWER, "--no-edit", "--cleanup=strip")

    def is_clean(self) -> bool:
        """Whether the files of the last commit are in the work tree as they are in it."""
        return not self._run("status", "--porcelain", "--untracked-files=no")

    def set_ref(self, ref: str) -> None:
        """Let a ref, by its full name, be at the commit that is checked out."""
        self._run("update-ref", ref, "HEAD")

    def commits(self, since: str, until: str) -> list[str]:
        """The ids of the commits of ``until`` that ``since`` (or nothing) has not, oldest first."""
        return self._run(
            "rev-list", "--reverse", f"{since}..{until}".removeprefix("..")
        ).splitlines()

    def diff(self, old: str, new: str) -> str:
        """What is different between two commits, as a unified diff."""
        return self._run("diff", "--no-renames", "--no-ext-diff", old, new) + "\n"

    def changed_paths(self, old: str, new: str) -> list[str]:
        """The paths that differ between two commits."""
        return self._run("diff", "--no-renames", "--name-only", old, new).splitlines()

    def read(self, commit: str, path: str) -> bytes | None:
        """A file as it is in a commit; None if it is not there."""
        if not self._run("ls-tree", "--name-only", commit, "--", path):
            return None
        return self._bytes("cat-file", "blob", f"{commit}:{path}")

    def renames(self, old: str, new: str) -> list[tuple[str, str, str]]:
        """Status, source and target of each file that differs, renames and copies found.

        A file that survives as little more than a shim is looked for elsewhere too: git breaks
        pairs that have little in common, and ``M`` is followed by how much is new in percent.
        """
        words = ("--name-status", "-z", "-B", "-M40%", "-C40%", "--find-copies-harder", "-l0")
        fields = iter(self._run("diff", *words, old, new).rstrip("\0").split("\0"))
        found = []
        for status in fields:
            if not status:
                break
            source = next(fields)
            found.append((status, source, next(fields) if status[0] in "RC" else source))
        return found

    def export(self, commit: str) -> bytes:
        """The commit as a mail, byte for byte the same wherever and whenever it is written."""
        return self._bytes("format-patch", *_EXPORT, "-1", commit)

    def _add(self) -> None:
        # editors and merge tools leave copies beside a file
        self._run("add", "--update", ".")
        self._run("add", "--force", "--", "*.py")

    def _git(self, *words: str, stdin: IO[bytes] | None = None) -> bytes:
        return git(*words, env=self._env, cwd=self.path, stdin=stdin)

    def _bytes(self, *words: str, stdin: IO[bytes] | None = None) -> bytes:
        try:
            return self._git(*words, stdin=stdin)
        except GitError as error:
            raise self._failed(error) from error

    def _run(self, *words: str, stdin: IO[bytes] | None = None) -> str:
        return (
            self._bytes(*words, stdin=stdin).decode("utf-8", "surrogateescape").removesuffix("\n")
        )

    def _failed(self, error: GitError) -> CommandFailed | NotWritable:
        if (code := machine_fault_in(error.output)) is not None:
            reason = f"cannot write to {self.path.parent}: {os.strerror(code)}, says git"
            return NotWritable(reason, next_step=step_after(code))
        said = error.output
        if not said or (error.status or 0) < 0:
            said = f"it {how_ended(error.status or 0)}: {said}".rstrip(": ")
        return CommandFailed(f"git failed: {said}", next_step="check that git works, and run again")


def _of_the_machine(error: GitError) -> bool:
    if (error.status or -1) < 0 or machine_fault_in(error.output) is not None:
        return True
    return _UNABLE.search(error.output) is not None

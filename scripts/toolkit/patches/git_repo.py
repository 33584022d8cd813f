"""A git repository isolated from the user's configuration, with reproducible commits."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.util.errors import CommandFailed, NotWritable, how_ended, machine_fault_in, step_after
from toolkit.util.git import GitError, git, git_dir_of

_WHO = {"NAME": "livekit-dispatched", "EMAIL": "noreply@invalid", "DATE": "2020-02-02T00:00:00Z"}
# format.noPrefix, whatever its value, takes them away
PREFIXES = ("--src-prefix=a/", "--dst-prefix=b/")
_EXPORT = (*PREFIXES, "-N", "--zero-commit", "--full-index", "--no-signature", "--no-renames")
_COMMIT = ("commit", "--quiet", "--no-verify", "--allow-empty")

# What git prints of a patch that it cannot apply, and with some lines of a fault of the machine.
_REJECTED = re.compile(r"^error: |^Patch format detection failed", re.M)
_UNABLE = re.compile(
    r"^(error|fatal): .*(unable to (write|create|append)|insufficient permission|out of memory)",
    re.M | re.I,
)


class GitConflict(GitError):
    """git stopped at something that a human may resolve."""


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
        """Return what `git am` reads from a mail of `git format-patch`."""
        from email import message_from_bytes
        from email.policy import default
        from email.utils import parseaddr

        parsed = message_from_bytes(mail, policy=default)
        name, address = parseaddr(str(parsed["From"]))
        subject = " ".join(str(parsed["Subject"]).split()).removeprefix("[PATCH]").strip()
        body = mail.partition(b"\n\n")[2].decode("utf-8", "surrogateescape")
        text = body.partition("\n---\n")[0].strip("\n")
        return cls(f"{name} <{address}>", str(parsed["Date"]), f"{subject}\n\n{text}\n")


class Repository:
    """The repository whose work tree is ``path``; it exists, or :meth:`create` makes it.

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
        """Commit what is in the work tree, ignored files too."""
        self._run("add", "--all", "--force", ".")
        self._run(*_COMMIT, f"--message={message}")

    def amend(self) -> None:
        """Put what is in the work tree into the last commit; of new files only Python's."""
        self._commit("--amend")

    def am(self, mails: Sequence[bytes]) -> None:
        """Commit each mail in turn, without fuzz or merging; GitConflict if one does not apply."""
        args = ("--quiet", "--keep-cr", "--no-3way", "--no-scissors", "--no-gpg-sign")
        try:
            self._git("am", *args, "--whitespace=nowarn", stdin=[b"\n".join(mails)])
        except GitError as error:
            if _is_machine_fault(error) or not _REJECTED.search(error.output):
                raise self._failed(error) from error
            raise GitConflict(error.output, error.status) from error

    def stopped_at(self) -> int | None:
        """Return the number, from 0, of the mail that :meth:`am` stopped at, if it did."""
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
        self._run("fast-import", "--quiet", "--force", "--date-format=rfc2822", stdin=stream)
        return self._run("rev-parse", ref)

    def checkout(self, commit: str) -> None:
        """Set the branch and the work tree to ``commit``; what is there is lost."""
        self._run("reset", "--quiet", "--hard", commit)

    def cherry_pick(self, commit: str, algorithm: str) -> None:
        """Merge what ``commit`` changed into the work tree and commit it: `git cherry-pick`.

        Its parent is the ancestor of the merge. Raises GitConflict if there are conflicts; they
        are then in the work tree.
        """
        args = ("--allow-empty", "--keep-redundant-commits", f"-Xdiff-algorithm={algorithm}")
        try:
            self._git("cherry-pick", *args, commit)
        except GitError as error:
            if _is_machine_fault(error) or not self.unmerged():
                raise self._failed(error) from error
            raise GitConflict(error.output, error.status) from error

    def is_picking(self) -> bool:
        """Return whether a :meth:`cherry_pick` waits for its conflicts to be resolved."""
        return (self.path / ".git/CHERRY_PICK_HEAD").exists()

    def unmerged(self) -> list[str]:
        """Return the paths that have conflicts."""
        return self._run("diff", "--name-only", "--diff-filter=U").splitlines()

    def continue_pick(self) -> None:
        """Commit what is in the work tree as the result of the :meth:`cherry_pick` that waits.

        That may be no change, which `git cherry-pick --continue` refuses.
        """
        self._commit("--cleanup=strip")

    def is_clean(self) -> bool:
        """Return whether the work tree has the files of the last commit, unchanged."""
        return not self._run("status", "--porcelain", "--untracked-files=no")

    def set_ref(self, ref: str) -> None:
        """Set a ref, by its full name, to the commit that is checked out."""
        self._run("update-ref", ref, "HEAD")

    def commits(self, since: str, until: str) -> list[str]:
        """Return the commits of ``until`` that ``since`` (empty: nothing) lacks, oldest first."""
        commits = f"{since}..{until}".removeprefix("..")
        return self._run("rev-list", "--reverse", commits).splitlines()

    def diff(self, old: str, new: str) -> str:
        """Return the unified diff between two commits."""
        return self._run("diff", "--no-renames", "--no-ext-diff", old, new) + "\n"

    def changed_paths(self, old: str, new: str) -> list[str]:
        """Return the paths that differ between two commits."""
        return self._run("diff", "--no-renames", "--name-only", old, new).splitlines()

    def read(self, commit: str, path: str) -> bytes | None:
        """Return a file as it is in a commit; None if it is not there."""
        if not self._run("ls-tree", "--name-only", commit, "--", path):
            return None
        return self._bytes("cat-file", "blob", f"{commit}:{path}")

    def renames(self, old: str, new: str) -> list[tuple[str, str, str]]:
        """Return status, source and target of each file that differs, as `git diff -B -M -C` does.

        A file of which little is left counts as deleted, so that its rename is detected too;
        its ``M`` is followed by the share of new lines in percent.
        """
        args = ("--name-status", "-z", "-B", "-M40%", "-C40%", "--find-copies-harder", "-l0")
        fields = iter(self._run("diff", *args, old, new).rstrip("\0").split("\0"))
        result = []
        while status := next(fields, ""):
            source = next(fields)
            result.append((status, source, next(fields) if status[0] in "RC" else source))
        return result

    def export(self, commit: str) -> bytes:
        """Return the commit as a mail, byte for byte the same on every machine."""
        return self._bytes("format-patch", *_EXPORT, "--stdout", "-1", commit)

    def _commit(self, option: str) -> None:
        # of new files only modules: editors and merge tools leave copies beside a file
        self._run("add", "--update", ".")
        self._run("add", "--force", "--", "*.py")
        self._run(*_COMMIT, "--no-edit", option)

    def _git(self, *args: str, stdin: Iterable[bytes] = ()) -> bytes:
        with tempfile.TemporaryFile() as file:
            file.writelines(stdin)
            file.seek(0)
            return git(*args, env=self._env, cwd=self.path, stdin=file)

    def _bytes(self, *args: str, stdin: Iterable[bytes] = ()) -> bytes:
        try:
            return self._git(*args, stdin=stdin)
        except GitError as error:
            raise self._failed(error) from error

    def _run(self, *args: str, stdin: Iterable[bytes] = ()) -> str:
        return self._bytes(*args, stdin=stdin).decode("utf-8", "surrogateescape").removesuffix("\n")

    def _failed(self, error: GitError) -> CommandFailed | NotWritable:
        if (code := machine_fault_in(error.output)) is not None:
            reason = f"cannot write to {self.path.parent}: {os.strerror(code)}, says git"
            return NotWritable(reason, next_step=step_after(code))
        output = error.output
        if not output or (error.status or 0) < 0:
            output = f"it {how_ended(error.status or 0)}: {output}".rstrip(": ")
        step = "check that git works, and run again"
        return CommandFailed(f"git failed: {output}", next_step=step)


def _is_machine_fault(error: GitError) -> bool:
    output, was_killed = error.output, (error.status or -1) < 0
    return was_killed or machine_fault_in(output) is not None or bool(_UNABLE.search(output))

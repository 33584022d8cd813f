"""A git repository of ours: no configuration but its own, and commits that depend on input alone.

The only place that speaks to git, which it does through GitPython.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CommandFailed

if TYPE_CHECKING:
    import git

_WHO = {"NAME": "livekit-dispatched", "EMAIL": "noreply@invalid", "DATE": "2020-02-02T00:00:00Z"}
_SETTINGS = {
    "core.autocrlf": "false",
    "core.fsync": "none",
    "core.looseCompression": "0",
    "core.attributesFile": os.devnull,
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "merge.conflictStyle": "diff3",
    "rerere.enabled": "false",
}
_EXPORT = ("-N", "--zero-commit", "--full-index", "--no-signature", "--no-renames", "--stdout")
_ANSWER = ("--quiet", "--no-verify", "--allow-empty")


class Refused(Exception):
    """git stopped at something that a human may solve; ``said`` is what it said."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(frozen=True)
class Letter:
    """Who wrote a commit, when (as in RFC 2822), and its whole message."""

    author: str
    date: str
    message: str

    @classmethod
    def of(cls, mail: bytes) -> Letter:
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


OURS = Letter(f"{_WHO['NAME']} <{_WHO['EMAIL']}>", "Sun, 02 Feb 2020 00:00:00 +0000", "")


class Repository:
    """The repository whose work tree is ``path``; it is there already, or :meth:`create` makes it.

    Every method raises CommandFailed if git is missing or fails for a reason of its own.
    """

    def __init__(self, path: Path) -> None:
        try:
            import git
        except ImportError as error:
            raise CommandFailed(
                f"git cannot be used: {str(error).splitlines()[0]}", next_step="install git"
            ) from error
        self.path = path.absolute()
        self._runner = git.Git(str(self.path))
        self._runner.update_environment(**_environment(self.path))
        self._failure = git.CommandError

    @classmethod
    def create(cls, path: Path) -> Repository:
        """Make an empty one in the folder ``path``."""
        new = cls(path)
        new._run("init", "--quiet", "--template=", "--initial-branch=series")
        return new

    @property
    def head(self) -> str:
        """The id of the commit that is checked out."""
        return self._run("rev_parse", "HEAD")

    def commit_all(self, message: str) -> None:
        """Commit what stands in the work tree, ignored files too."""
        self._run("add", "--all", "--force", ".")
        self._run("commit", *_ANSWER, f"--message={message}")

    def amend(self) -> None:
        """Put what stands in the work tree into the last commit; of new files only Python's."""
        self._add()
        self._run("commit", *_ANSWER, "--amend", "--no-edit")

    def am(self, mails: Sequence[bytes], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Commit each mail in turn, without fuzz or merging; Refused if one does not apply.

        git is another process: while it works, ``meanwhile`` is called.
        """
        words = ("--quiet", "--keep-cr", "--no-3way", "--no-scissors", "--no-gpg-sign")
        with tempfile.TemporaryFile() as file:
            file.write(b"\n".join(mails))
            file.seek(0)
            try:
                am = self._runner.am(*words, "--whitespace=nowarn", istream=file, as_process=True)
                with am.proc:
                    meanwhile()
                    am.wait()
            except self._failure as error:
                raise Refused(_said(error)) from error

    def refused_mail(self) -> int | None:
        """The place, from 0, of the mail that :meth:`am` stopped at."""
        try:
            return int((self.path / ".git/rebase-apply/next").read_text("utf-8")) - 1
        except (OSError, ValueError):
            return None

    def store(
        self, ref: str, files: Mapping[str, bytes], letter: Letter = OURS, parent: str = ""
    ) -> str:
        """A commit of exactly ``files`` under a ref's full name; the work tree stays as it is."""
        message = letter.message.encode("utf-8", "surrogateescape")
        stream = [
            f"commit {ref}\nauthor {letter.author} {letter.date}\n".encode(),
            f"committer {OURS.author} {OURS.date}\ndata {len(message)}\n".encode() + message,
            f"\nfrom {parent}\n".encode() if parent else b"\n",
            b"deleteall\n",
        ]
        for path, data in sorted(files.items()):
            stream.append(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
        with tempfile.TemporaryFile() as file:
            file.writelines(stream)
            file.seek(0)
            words = ("--quiet", "--force", "--date-format=rfc2822")
            self._run("fast_import", *words, istream=file)
        return self._run("rev_parse", ref)

    def checkout(self, commit: str) -> None:
        """Let the branch and the work tree be at ``commit``; what stands there is lost."""
        self._run("reset", "--quiet", "--hard", commit)

    def pick(self, commit: str, algorithm: str) -> None:
        """Merge what ``commit`` changed into the work tree and commit it: `git cherry-pick`.

        Its parent is the ancestor of the merge. Raises Refused if there are conflicts, which then
        stand in the work tree.
        """
        words = ("--allow-empty", "--keep-redundant-commits", f"-Xdiff-algorithm={algorithm}")
        try:
            self._runner.cherry_pick(*words, commit)
        except self._failure as error:
            if not self.unmerged():
                raise _failed(error) from error
            raise Refused(_said(error)) from error

    def picking(self) -> bool:
        """Whether a :meth:`pick` waits for somebody to solve its conflicts."""
        return (self.path / ".git/CHERRY_PICK_HEAD").exists()

    def unmerged(self) -> list[str]:
        """The paths that have conflicts."""
        return self._run("diff", "--name-only", "--diff-filter=U").splitlines()

    def go_on(self) -> None:
        """Commit what stands in the work tree as the result of the :meth:`pick` that waits.

        That may be nothing: `git cherry-pick --continue` would refuse it.
        """
        self._add()
        self._run("commit", *_ANSWER, "--no-edit", "--cleanup=strip")

    def is_clean(self) -> bool:
        """Whether the files of the last commit are in the work tree as they are in it."""
        return not self._run("status", "--porcelain", "--untracked-files=no")

    def mark(self, ref: str) -> None:
        """Let a ref, by its full name, be at the commit that is checked out."""
        self._run("update_ref", ref, "HEAD")

    def commits(self, since: str, until: str) -> list[str]:
        """The ids of the commits of ``until`` that ``since`` (or nothing) has not, oldest first."""
        return self._run(
            "rev_list", "--reverse", f"{since}..{until}".removeprefix("..")
        ).splitlines()

    def diff(self, old: str, new: str) -> str:
        """What is different between two commits, as a unified diff."""
        return self._run("diff", "--no-renames", "--no-ext-diff", old, new) + "\n"

    def changed(self, old: str, new: str) -> list[str]:
        """The paths that differ between two commits."""
        return self._run("diff", "--no-renames", "--name-only", old, new).splitlines()

    def text(self, commit: str, path: str) -> bytes | None:
        """A file as it is in a commit; None if it is not there."""
        if not self._run("ls_tree", "--name-only", commit, "--", path):
            return None
        plain = {"stdout_as_string": False, "strip_newline_in_stdout": False}
        data = self._runner.cat_file("blob", f"{commit}:{path}", **plain)
        assert isinstance(data, bytes)
        return data

    def moves(self, old: str, new: str) -> list[tuple[str, str, str]]:
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
        said = self._runner.format_patch(
            *_EXPORT, "-1", commit, stdout_as_string=False, strip_newline_in_stdout=False
        )
        assert isinstance(said, bytes)
        return said

    def _add(self) -> None:
        # editors and merge tools leave copies beside a file
        self._run("add", "--update", ".")
        self._run("add", "--force", "--", "*.py")

    def _run(self, command: str, *words: str, **options: object) -> str:
        try:
            return str(getattr(self._runner, command)(*words, **options))
        except self._failure as error:
            raise _failed(error) from error


def _said(error: git.CommandError) -> str:
    return "\n".join(
        line.strip().removeprefix("stderr: '").removeprefix("stdout: '").removesuffix("'")
        for line in f"{error.stderr}".strip().splitlines()
    )


def _failed(error: git.CommandError) -> CommandFailed:
    said = str(error.stderr or error).strip()
    return CommandFailed(f"git failed: {said}", next_step="check that git works")


def _environment(tree: Path) -> dict[str, str]:
    """Variables that hide the user's configuration, and any GIT_* that points elsewhere."""
    home = tree / ".git"
    configuration = {"GIT_CONFIG_COUNT": str(len(_SETTINGS)), "GIT_CONFIG_PARAMETERS": ""}
    for number, (key, value) in enumerate(_SETTINGS.items()):
        configuration[f"GIT_CONFIG_KEY_{number}"] = key
        configuration[f"GIT_CONFIG_VALUE_{number}"] = value
    return {
        **configuration,
        **{f"GIT_{who}_{key}": _WHO[key] for who in ("AUTHOR", "COMMITTER") for key in _WHO},
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_DIR": str(home),
        "GIT_COMMON_DIR": str(home),
        "GIT_WORK_TREE": str(tree),
        "GIT_INDEX_FILE": str(home / "index"),
        "GIT_OBJECT_DIRECTORY": str(home / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_DEFAULT_HASH": "sha1",
        "GIT_NAMESPACE": "",
        "GIT_PREFIX": "",
        "GIT_GRAFT_FILE": str(home / "info/grafts"),
        "GIT_SHALLOW_FILE": str(home / "shallow"),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_EDITOR": "true",
    }

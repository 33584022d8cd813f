"""Every error a verb can end with: what is wrong, what to do next, and its exit code.

The codes are part of the command line's contract and are listed in README.md.
0 is success, 2 is argparse's usage error, 130 is Ctrl-C (128 + SIGINT), 141 a reader that left.
"""

from __future__ import annotations

import errno
import os
import re
from typing import ClassVar

# What stands before the last @ of an address, even if a password holds the slash it should not, or
# if it was taken for a path, which has one slash for two; and the values of its query, which may be
# signatures or tokens.
_USER = re.compile(
    r"(?:(?<=://)|(?<=http:/)|(?<=https:/))(?:[^\s/?#\"<>]*|[^\s/?#:\"<>]*:[^\s\"<>]*)@"
)
_VALUE = re.compile(r"([?&][\w.%-]+=)[^\s&#\"'<>)]+")


class ToolkitError(Exception):
    """What is wrong, and the next step for whoever reads it.

    ``main`` of a verb catches this once, by way of ``cli.verb``.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, next_step: str) -> None:
        self.problem = printable(masked(problem))
        self.next_step = printable(masked(next_step))
        super().__init__(self.problem)

    def __str__(self) -> str:
        return f"{self.problem}\n  next: {self.next_step}"


class UnknownRelease(ToolkitError):
    """PyPI has no such release, or nothing that can be patched in it."""

    exit_code = 10


class YankedRelease(ToolkitError):
    """The release was yanked upstream (PEP 592) and was not asked for with --yanked."""

    exit_code = 11


class Unreachable(ToolkitError):
    """A server did not answer, or its answer was cut off or is not what the protocol says."""

    exit_code = 12


class HashMismatch(ToolkitError):
    """A file's bytes are not the ones its index, RECORD or verdict announced."""

    exit_code = 13


class InvalidWheel(ToolkitError):
    """Not a wheel, or one that is unsafe or inconsistent with its own RECORD."""

    exit_code = 14


class InvalidSeries(ToolkitError):
    """``series.toml`` or a patch file does not say what its format demands."""

    exit_code = 15


class PatchConflict(ToolkitError):
    """A patch does not apply to the release without fuzz, or changes nothing there."""

    exit_code = 16


class EnvironmentUnresolvable(ToolkitError):
    """uv finds no set of dependencies for a release as of its upload time."""

    exit_code = 17


class NotProved(ToolkitError):
    """The verdict is not ``publish``, or does not speak of these very files."""

    exit_code = 18


class IndexConflict(ToolkitError):
    """The index holds other bytes under the same name, or is not one of ours."""

    exit_code = 19


class NotWritable(ToolkitError):
    """A folder is read-only, full, or cannot be locked; or the machine is short of something."""

    exit_code = 20


class CommandFailed(ToolkitError):
    """A program we call (git, uv, pytest) is missing or failed for a reason of its own."""

    exit_code = 21


class SomeReleasesFailed(ToolkitError):
    """Of several releases at least one failed; the table names each with its own error."""

    exit_code = 22


class MutantSurvived(ToolkitError):
    """No race test fails when some hunk of the series is dropped."""

    exit_code = 23


class UpstreamNotRun(ToolkitError):
    """Upstream's own tests could not run, and --require-upstream asked for them."""

    exit_code = 24


class AuditFailed(ToolkitError):
    """A wheel or an installed file is not what official wheel and series give."""

    exit_code = 25


class UploadRefused(ToolkitError):
    """A server does not take an upload and never will, or its address is not to be used."""

    exit_code = 26


class NotFixed(ToolkitError):
    """The newest stable official release is not proved to lose no call, in the full tier."""

    exit_code = 27


def masked(text: str) -> str:
    """Return ``text`` without the users, passwords and tokens of the addresses in it."""
    return _VALUE.sub(r"\1***", _USER.sub("***@", text))


_ROOM = "make room there, then run the same command again"
_PATH = "name a folder, not a file or a path below one"
_LIMIT = "end other programs or raise the limit (`ulimit -n`), then run again"
_STEPS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), _PATH),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.EAGAIN), _LIMIT),
    errno.ENOMEM: "end other programs, or take a machine with more memory, then run again",
    errno.EIO: "look after the disk, then run again",
}
# What the machine is short of, whatever it was asked to do: room, memory, rights.
_SHORT = (*(code for code, step in _STEPS.items() if step != _PATH), errno.EROFS)
_FAULTS = {os.strerror(code): code for code in (*_SHORT, errno.EACCES, errno.EPERM)}
_FAULT = re.compile(rf"^(?:error|fatal): .*: ({'|'.join(map(re.escape, _FAULTS))})$", re.M)
_ERRNO = re.compile(rf"\[Errno ({'|'.join(map(str, _SHORT))})\]|\bMemoryError\b")


def step_after(code: int | None) -> str:
    """Return what to do next after an OSError with that errno."""
    return _STEPS.get(code or 0, "make the folder writable or name another, then run again")


def machine_fault(error: OSError) -> NotWritable:
    """Make the error for an OSError that was raised where no folder was named."""
    place = f"{error.filename}: " if error.filename else ""
    return NotWritable(f"{place}{error.strerror or error}", next_step=step_after(error.errno))


def machine_fault_in(output: str) -> int | None:
    """Return the errno that a line of git's ends with, without a locale; None if none does."""
    match = _FAULT.search(output)
    return _FAULTS[match[1]] if match else None


def reports_shortage(message: str) -> bool:
    """Return whether the message of a Python exception says that the machine is short of something.

    A missing right is left out: that may be what is tested.
    """
    return _ERRNO.search(message) is not None


def how_ended(exit_code: int) -> str:
    """Say how a child ended."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    cause = ", as the system does when memory is out" if exit_code == -9 else ""
    return f"was ended by signal {-exit_code}{cause}"


def printable(text: str) -> str:
    """Return ``text`` with all that a terminal would obey, or hide, as escapes; line ends stay.

    Messages quote servers and files, which must not steer a terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )

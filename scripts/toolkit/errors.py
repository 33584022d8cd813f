"""Every error a verb can end with: what is wrong, what to do next, and its exit code.

The codes are part of the command line's contract and are listed in README.md.
0 is success, 2 is argparse's usage error, 130 is Ctrl-C (128 + SIGINT), 141 a reader that left.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from typing import ClassVar, NoReturn

# What stands before the last @ of an address, though a password holds the slash it should not,
# and the values of its query, which sign or name whoever asks.
_USER = re.compile(r"(?<=://)(?:[^\s/?#\"<>]*|[^\s/?#:\"<>]*:[^\s\"<>]*)@")
_VALUE = re.compile(r"([?&][\w.%-]+=)[^\s&#\"'<>)]+")


class ToolkitError(Exception):
    """What is wrong, and the next step for whoever reads it.

    ``main`` of a verb catches this once, by way of :func:`run_verb`.
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
    """A folder is read-only, full, or cannot be locked."""

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


class UploadRefused(ToolkitError):
    """A server does not take an upload and never will, or its address is not to be used."""

    exit_code = 26


class NotFixed(ToolkitError):
    """The newest stable official release is not proved to lose no call, in the full tier."""

    exit_code = 27


def masked(text: str) -> str:
    """``text`` without the users, passwords and tokens of the addresses in it."""
    return _VALUE.sub(r"\1***", _USER.sub("***@", text))


class Arguments(argparse.ArgumentParser):
    """A parser that repeats no password when it refuses what it was given."""

    def error(self, message: str) -> NoReturn:
        super().error(masked(message))


def printable(text: str) -> str:
    """``text`` with all that a terminal would obey, or hide, as escapes; line ends stay.

    What a server or a file says of itself goes into messages: let it steer no terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


class AuditFailed(ToolkitError):
    """A wheel or an installed file is not what official wheel and series give."""

    exit_code = 25


def run_verb(body: Callable[[], int | None]) -> int:
    """Run a verb's body and turn what ends it early into one message and an exit code."""
    try:
        return body() or 0
    except ToolkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # whoever read us has stopped, as `| head` does; keep the interpreter's exit quiet
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return 141
    except KeyboardInterrupt:
        print(
            "interrupted: nothing half-done was kept; run the same command again", file=sys.stderr
        )
        return 130

"""Command lines of the verbs: options, exit codes, and the settings that they give."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec

from packaging.version import Version

from toolkit.releases.catalogue import Catalogue
from toolkit.releases.official import Settings
from toolkit.releases.select import select
from toolkit.util.errors import (
    NotWritable,
    ToolkitError,
    machine_fault,
    masked,
    step_after,
)
from toolkit.util.workspace import Workspace

if TYPE_CHECKING:
    from toolkit.proof.settings import ProofSettings
    from toolkit.proof.upstream_tests import UpstreamTests

REPOSITORY_VARIABLE = "LIVEKIT_DISPATCHED_UPSTREAM"

P = ParamSpec("P")


class Arguments(argparse.ArgumentParser):
    """A parser that repeats no password when it refuses what it was given."""

    def error(self, message: str) -> NoReturn:
        super().error(masked(message))


def verb(main: Callable[P, int | None]) -> Callable[P, int]:
    """Turn an exception from a verb's ``main`` into one message and an exit code."""

    @wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except ToolkitError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except BrokenPipeError:
            # the reader has stopped, as `| head` does; keep the interpreter's exit quiet
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
            return 141
        except OSError as error:
            fault = machine_fault(error)
            print(f"error: {fault}", file=sys.stderr)
            return fault.exit_code
        except MemoryError:
            print(f"error: no memory\n  next: {step_after(errno.ENOMEM)}", file=sys.stderr)
            return NotWritable.exit_code
        except KeyboardInterrupt:
            text = "interrupted: nothing half-done was kept; run the same command again"
            print(text, file=sys.stderr)
            return 130

    return wrapped


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if re.fullmatch(r"\d{4}-?\d\d-?\d\d", text):
        moment += timedelta(days=1, microseconds=-1)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{text} is no number of seconds")
    return seconds


def add_timeout(parser: argparse.ArgumentParser, default: float) -> None:
    """Add the option ``--timeout``; ``default`` is in seconds."""
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=default,
        help="end tests that stand still for so long (%(default)g); what moves on has no limit",
    )


_OPTIONS: dict[str, dict[str, Any]] = {
    "pypi": {"metavar": "URL", "help": "another simple index than PyPI's (a mirror)"},
    "as-of": {
        "metavar": "DATE",
        "type": _moment,
        "help": "later releases do not exist yet: a day (with all of it), or a time as in RFC 3339",
    },
    "json": {"action": "store_true", "help": "print JSON"},
    "patches": {"metavar": "DIR", "type": Path, "help": "another series than the repository's own"},
    "yanked": {"action": "store_true", "help": "take releases that were yanked"},
    "offline": {"action": "store_true", "help": "ask no index: take what is known"},
}


def parser(description: str | None, *, without: Collection[str] = ()) -> Arguments:
    """Return a parser with the options of a verb that asks PyPI, except those in ``without``."""
    new = Arguments(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, settings in _OPTIONS.items():
        if name not in without:
            new.add_argument(f"--{name}", **settings)
    return new


def workspace_of(options: argparse.Namespace) -> Workspace:
    """Return the workspace that the command line names."""
    return Workspace.default(getattr(options, "patches", None))


def selected_releases(
    options: argparse.Namespace, workspace: Workspace
) -> list[Version | str | None]:
    """Return the releases that the command line names; print those left out on standard error."""
    catalogue = Catalogue.read(workspace.catalogue)
    selection = select(options.release, catalogue, yanked=options.yanked, as_of=options.as_of)
    for release in selection.left_out:
        print(f"{release.version} is left out: {release.reason}", file=sys.stderr)
    selection.require()
    return list(selection.names)


def add_index(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--index``."""
    parser.add_argument(
        "--index",
        metavar="DIR",
        type=Path,
        default=Path("dist/index"),
        help="the index's folder (default: %(default)s)",
    )


def add_proof(
    parser: argparse.ArgumentParser, timeout: float, *, tier: bool = True, upstream: bool = True
) -> None:
    """Add the options of verbs that prove; ``timeout`` is in seconds."""
    from toolkit.proof.settings import TIERS

    add = parser.add_argument
    add("--python", help="the Python to prove on (default: the running one)")
    if tier:
        add("--tier", choices=TIERS, default=TIERS[0], help="how many schedules (%(default)s)")
    add_timeout(parser, timeout)
    if upstream:
        add_repository(parser, "--upstream", "where upstream's own tests come from, or `no`; ")


def _repository(text: str) -> str:
    # the message does not repeat it either
    scheme, _, rest = text.partition("://")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    if at and (":" in user or scheme.startswith("http")):
        raise argparse.ArgumentTypeError(
            "an address with credentials in it, which logs and verdicts would show: "
            "leave them to git's credential helper"
        )
    return text


def add_repository(parser: argparse.ArgumentParser, name: str, text: str = "") -> None:
    """Add ``--require-upstream`` and the option ``name`` for upstream's repository."""
    # the variable's value is checked like the option's, and is not shown in the help
    from toolkit.upstream_tests.checkout import REPOSITORY

    parser.add_argument(
        name,
        metavar="URL-or-PATH",
        type=_repository,
        default=os.environ.get(REPOSITORY_VARIABLE, REPOSITORY),
        help=f"{text}default: ${REPOSITORY_VARIABLE}, or {REPOSITORY}",
    )
    parser.add_argument(
        "--require-upstream", action="store_true", help="fail if upstream's tests cannot run"
    )


def settings_of(options: argparse.Namespace) -> Settings:
    """Return where the command line says that releases come from."""
    return Settings(
        workspace_of(options),
        pypi=options.pypi,
        offline=options.offline,
        yanked=getattr(options, "yanked", False),
        as_of=options.as_of,
    )


def proof_settings_of(options: argparse.Namespace, settings: Settings) -> ProofSettings:
    """Return how the command line says that releases are proved."""
    from toolkit.proof.settings import TIERS, ProofSettings

    upstream = upstream_of(options, settings) if "upstream" in options else None
    return ProofSettings(
        settings.workspace,
        tier=getattr(options, "tier", TIERS[0]),
        python=options.python,
        timeout=options.timeout,
        upstream=upstream,
    )


def upstream_of(options: argparse.Namespace, settings: Settings) -> UpstreamTests | None:
    """Return whose upstream tests run; None for ``--upstream no``."""
    from toolkit.proof.upstream_tests import UpstreamTests
    from toolkit.upstream_tests.checkout import REPOSITORY

    if options.upstream == "no":
        return None
    return UpstreamTests(
        options.upstream,
        options.require_upstream,
        settings.workspace,
        settings.offline,
        named=options.upstream != REPOSITORY,
    )

"""The flow, one session a step: release = fetch, apply, repack, prove, publish.

Everything after ``--`` goes to the script of the same step; ``-- --help`` explains it.
"""

from __future__ import annotations

import logging
import os
import runpy
from collections.abc import Mapping
from pathlib import Path

import nox

# Ends with one line where this Python is too old, for nox itself and then for each session.
READY = "scripts/toolkit/__init__.py"
runpy.run_path(READY)

# nox repeats the commands that it runs, and an address in one of them may hold a password.
masked = runpy.run_path("scripts/toolkit/util/errors.py")["masked"]


def mask(record: logging.LogRecord) -> bool:
    """Take passwords out of what nox is about to say."""
    record.msg, record.args = masked(record.getMessage()), ()
    return True


logging.getLogger("nox").addFilter(mask)

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
TESTING = {"PYTHONPATH": os.pathsep.join(["scripts", "tests/toolkit/support"])}


def install(session: nox.Session, group: str) -> None:
    """Install a dependency group of pyproject.toml, pinned."""
    if os.pathsep in session.bin:
        # nox would take another Python from PATH
        session.error(f"no program is found in {session.bin}, for its {os.pathsep!r}: clone "
                      "elsewhere, or have the environments elsewhere with --envdir")  # fmt: skip
    session.run("python", READY, log=False, stderr=None)
    requirements = nox.project.dependency_groups(PYPROJECT, group)
    # with --verbose too, when nox would let the installer write to stdout
    session.install("--constraint", "constraints.txt", *requirements, silent=True)


def script(
    session: nox.Session,
    path: str,
    *words: str,
    group: str = "toolkit",
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a script, its stdout unmixed: nox would send stderr there, and a document is on it."""
    install(session, group)
    session.run("python", path, *words, *session.posargs, env=env, stderr=None)


def verb(session: nox.Session, name: str, *words: str, group: str = "toolkit") -> None:
    """Run the script of a step of the flow."""
    script(session, f"scripts/{name}.py", *words, group=group)


@nox.session
def release(session: nox.Session) -> None:
    """From a PyPI release to a private index: release -- [RELEASE ...] [--index DIR]."""
    verb(session, "release")


@nox.session
def update(session: nox.Session) -> None:
    """What is on PyPI, into patches/releases.toml: update -- [--as-of DATE]."""
    verb(session, "update")


@nox.session
def refresh(session: nox.Session) -> None:
    """Carry the series to a release that it does not fit: refresh -- [RELEASE] [--continue DIR]."""
    verb(session, "refresh")


@nox.session
def rehearse(session: nox.Session) -> None:
    """As if each release were the newest: is the next one carried without a hand? -- --help."""
    script(session, "benchmarks/rehearsal.py")


@nox.session
def status(session: nox.Session) -> None:
    """The support matrix: status -- [RELEASE ...] [--json]."""
    verb(session, "status")


@nox.session
def matrix(session: nox.Session) -> None:
    """The same releases as a CI matrix, fanned out over Python versions, as JSON."""
    verb(session, "status", "--matrix")


@nox.session
def wheels(session: nox.Session) -> None:
    """Only the patched wheels: wheels -- [RELEASE ...] [--out DIR]."""
    verb(session, "repack")


@nox.session
def prove(session: nox.Session) -> None:
    """Only the proof: prove -- [RELEASE ...] [--tier quick|full] [--replay SCHEDULE]."""
    verb(session, "prove")


@nox.session
def upstream(session: nox.Session) -> None:
    """Upstream's own tests on both sides: upstream -- [RELEASE ...] [--repo URL-or-PATH]."""
    verb(session, "upstream")


@nox.session
def publish(session: nox.Session) -> None:
    """Only the index: publish -- --index DIR [WHEEL ...] [--yank RELEASE] [--to URL]."""
    verb(session, "publish")


@nox.session
def retire(session: nox.Session) -> None:
    """End the series by behaviour: retire -- [--index DIR] [--prove] [--yes | --undo]."""
    verb(session, "retire")


@nox.session
def serve(session: nox.Session) -> None:
    """One index URL, ours in front and PyPI behind: serve -- [--index DIR] [--port N]."""
    verb(session, "serve", group="serve")


@nox.session
def forward(session: nox.Session) -> None:
    """The series and a bug report for upstream: forward -- [RELEASE] [--author NAME <ADDRESS>]."""
    verb(session, "forward")


@nox.session
def announce(session: nox.Session) -> None:
    """What the daily watch says to the maintainers: announce -- --help."""
    verb(session, "announce")


@nox.session
def mutate(session: nox.Session) -> None:
    """Can the race suite fail? Drop each hunk of the series: mutate -- [RELEASE ...]."""
    verb(session, "mutate")


@nox.session
def audit(session: nox.Session) -> None:
    """Is it exactly official plus series? audit -- WHEEL|INDEX|URL|ENVIRONMENT ... [--json]."""
    verb(session, "audit")


@nox.session
def tests(session: nox.Session) -> None:
    """The toolkit's tests; among them the proof of 1.4.6 and 1.8.9 with real pip and uv."""
    install(session, "test")
    session.run("pytest", *session.posargs)


@nox.session
def workflows(session: nox.Session) -> None:
    """The workflows, run for real on this machine: workflows -- [-m quick] [-k WORD]."""
    install(session, "workflows")
    session.run("pytest", "tests/workflows", *session.posargs, env=TESTING)


@nox.session
def torture(session: nox.Session) -> None:
    """Publishers killed at random moments, and a crowd of them: torture -- [--kills N]."""
    script(session, "tests/toolkit/support/torturing.py", env=TESTING)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Mutated wheels, patches, pages and lists: fuzz -- [--count N] [--seed N] [--subject NAME]."""
    script(session, "tests/toolkit/support/fuzzing.py", group="test", env=TESTING)


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, lint and types; and the workflows."""
    install(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-logo", "--no-cache", env={"PYTHONPATH": "scripts"})
    session.run("zizmor", "--offline", "--strict-collection", "--persona=pedantic", ".github")
    workflows = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    renewing = ".github/dependabot.yml"
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", renewing)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Apply and repack, side by side with what one would do otherwise: benchmarks -- --help."""
    script(session, "benchmarks/repack.py")


@nox.session
def all_releases(session: nox.Session) -> None:
    """The same for every release at once, and with nothing to do: all_releases -- --help."""
    script(session, "benchmarks/all_releases.py")


@nox.session
def indexing(session: nox.Session) -> None:
    """An index of 2,000 wheels, side by side with dumb-pypi: indexing -- --help."""
    script(session, "benchmarks/index.py")

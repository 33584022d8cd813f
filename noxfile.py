"""One session a verb: release = fetch, apply, repack, prove, publish.

Everything after ``--`` goes to the verb's script; ``-- --help`` explains it.
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
    name: str, path: str, text: str, *, group: str = "toolkit", env: Mapping[str, str] | None = None
) -> None:
    """Make a session of a script, whose path arguments may follow; ``text`` is for --list."""

    def run(session: nox.Session) -> None:
        install(session, group)
        # stdout unmixed: nox would send stderr there, and a document is on it
        session.run("python", *path.split(), *session.posargs, env=env, stderr=None)

    run.__doc__ = text
    nox.session(name=name)(run)


VERBS = {
    "release": "From a PyPI release to a private index: release -- [RELEASE ...] [--index DIR].",
    "fetch": "Only the official wheels: fetch -- [RELEASE ...].",
    "apply": "Only the patched tree: apply -- RELEASE --tree DIR.",
    "repack": "Only the patched wheels: repack -- [RELEASE ...] [--out DIR].",
    "prove": "Only the proof: prove -- [RELEASE ...] [--tier quick|full] [--replay SCHEDULE].",
    "publish": "Only the index: publish -- --index DIR [WHEEL ...] [--yank RELEASE] [--to URL].",
    "update": "What is on PyPI, into patches/releases.toml: update -- [--as-of DATE].",
    "refresh": "Rebase the series onto a release that it does not fit: refresh -- [RELEASE] "
    "[--continue DIR].",
    "status": "The support matrix: status -- [RELEASE ...] [--json].",
    "audit": "Is it exactly official plus series? audit -- WHEEL|INDEX|URL|ENVIRONMENT ... "
    "[--json].",
    "upstream": "Upstream's own tests on both sides: upstream -- [RELEASE ...] "
    "[--repo URL-or-PATH].",
    "forward": "The series and a bug report for upstream: forward -- [RELEASE] "
    "[--author NAME <ADDRESS>].",
    "retire": "End the series by behaviour: retire -- [--index DIR] [--prove] [--yes | --undo].",
    "announce": "What the daily watch says to the maintainers: announce -- --help.",
    "mutate": "Can the race suite fail? Drop each hunk of the series: mutate -- [RELEASE ...].",
    "serve": "One index URL, ours in front and PyPI behind: serve -- [--index DIR] [--port N].",
}
for verb, description in VERBS.items():
    group = "serve" if verb == "serve" else "toolkit"
    script(verb, f"scripts/{verb}.py", description, group=group)
script("wheels", "scripts/repack.py", "The same as repack, under its older name.")
script(
    "matrix",
    "scripts/status.py --matrix",
    "The releases of status as a CI matrix, fanned out over Python versions, as JSON.",
)
script(
    "rehearse",
    "benchmarks/rehearsal.py",
    "As if each release were the newest: is the next one rebased without a hand? -- --help.",
)
script(
    "benchmarks",
    "benchmarks/repack.py",
    "Apply and repack, side by side with what one would do otherwise: benchmarks -- --help.",
)
script(
    "all_releases",
    "benchmarks/all_releases.py",
    "The same for every release at once, and with nothing to do: all_releases -- --help.",
)
script(
    "indexing",
    "benchmarks/index.py",
    "An index of 2,000 wheels, side by side with dumb-pypi: indexing -- --help.",
)
script(
    "torture",
    "tests/toolkit/support/torturing.py",
    "Publishers killed at random moments, and a crowd of them: torture -- [--kills N].",
    env=TESTING,
)


@nox.session
def tests(session: nox.Session) -> None:
    """The toolkit's tests; among them the proof of 1.4.6 and 1.8.9 with real pip and uv."""
    install(session, "test")
    session.run("pytest", *(session.posargs or ["-m", "not slow"]))


@nox.session
def slow(session: nox.Session) -> None:
    """Those of the tests that take minutes: every release, a real rebase, a real retirement."""
    install(session, "test")
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Damaged wheels, patches, pages and lists: fuzz -- [-k NAME] [--hypothesis-seed N].

    FUZZ_EXAMPLES says how many of each.
    """
    install(session, "test")
    files = sorted(map(str, Path("tests/toolkit").glob("test_*_fuzz.py")))
    examples = os.environ.get("FUZZ_EXAMPLES", "2000")
    session.run("pytest", *files, *session.posargs, env={"FUZZ_EXAMPLES": examples})


@nox.session
def workflows(session: nox.Session) -> None:
    """The workflows, run for real on this machine: workflows -- [-m quick] [-k WORD]."""
    install(session, "workflows")
    session.run("pytest", "tests/workflows", *session.posargs, env=TESTING)


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

"""The flow, one session a step: release = fetch, apply, repack, prove, publish.

Everything after ``--`` goes to the script of the same step; ``-- --help`` explains it.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint"]

PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, group: str) -> None:
    """Install a dependency group of pyproject.toml, pinned."""
    requirements = nox.project.dependency_groups(PYPROJECT, group)
    session.install("--constraint", "constraints.txt", *requirements)


@nox.session
def release(session: nox.Session) -> None:
    """From a PyPI release to a private index: release -- [RELEASE ...] [--index DIR]."""
    install(session, "toolkit")
    session.run("python", "scripts/release.py", *session.posargs)


@nox.session
def update(session: nox.Session) -> None:
    """What is on PyPI, into patches/releases.toml: update -- [--as-of DATE]."""
    install(session, "toolkit")
    session.run("python", "scripts/update.py", *session.posargs)


@nox.session
def refresh(session: nox.Session) -> None:
    """Carry the series to a release that it does not fit: refresh -- [RELEASE] [--continue DIR]."""
    install(session, "toolkit")
    session.run("python", "scripts/refresh.py", *session.posargs)


@nox.session
def rehearse(session: nox.Session) -> None:
    """As if each release were the newest: is the next one carried without a hand? -- --help."""
    install(session, "toolkit")
    session.run("python", "benchmarks/rehearsal.py", *session.posargs)


@nox.session
def status(session: nox.Session) -> None:
    """The support matrix: status -- [RELEASE ...] [--json]."""
    install(session, "toolkit")
    session.run("python", "scripts/status.py", *session.posargs)


@nox.session
def matrix(session: nox.Session) -> None:
    """The same releases as a CI matrix, fanned out over Python versions, as JSON."""
    install(session, "toolkit")
    session.run("python", "scripts/status.py", "--matrix", *session.posargs)


@nox.session
def wheels(session: nox.Session) -> None:
    """Only the patched wheels: wheels -- [RELEASE ...] [--out DIR]."""
    install(session, "toolkit")
    session.run("python", "scripts/repack.py", *session.posargs)


@nox.session
def prove(session: nox.Session) -> None:
    """Only the proof: prove -- [RELEASE ...] [--tier quick|full] [--replay SCHEDULE]."""
    install(session, "toolkit")
    session.run("python", "scripts/prove.py", *session.posargs)


@nox.session
def upstream(session: nox.Session) -> None:
    """Upstream's own tests on both sides: upstream -- [RELEASE ...] [--repo URL-or-PATH]."""
    install(session, "toolkit")
    session.run("python", "scripts/upstream.py", *session.posargs)


@nox.session
def publish(session: nox.Session) -> None:
    """Only the index: publish -- --index DIR [WHEEL ...] [--yank RELEASE] [--to URL]."""
    install(session, "toolkit")
    session.run("python", "scripts/publish.py", *session.posargs)


@nox.session
def retire(session: nox.Session) -> None:
    """End the series by behaviour: retire -- [--index DIR] [--prove] [--yes | --undo]."""
    install(session, "toolkit")
    session.run("python", "scripts/retire.py", *session.posargs)


@nox.session
def serve(session: nox.Session) -> None:
    """One index URL, ours in front and PyPI behind: serve -- [--index DIR] [--port N]."""
    install(session, "serve")
    session.run("python", "scripts/serve.py", *session.posargs)


@nox.session
def forward(session: nox.Session) -> None:
    """The series and a bug report for upstream: forward -- [RELEASE] [--author NAME <ADDRESS>]."""
    install(session, "toolkit")
    session.run("python", "scripts/forward.py", *session.posargs)


@nox.session
def announce(session: nox.Session) -> None:
    """What the daily watch says to the maintainers: announce -- --help."""
    install(session, "toolkit")
    session.run("python", "scripts/announce.py", *session.posargs)


@nox.session
def mutate(session: nox.Session) -> None:
    """Can the race suite fail? Drop each hunk of the series: mutate -- [RELEASE ...]."""
    install(session, "toolkit")
    session.run("python", "scripts/mutate.py", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Is it exactly official plus series? audit -- WHEEL|INDEX|URL|ENVIRONMENT ... [--json]."""
    install(session, "toolkit")
    session.run("python", "scripts/audit.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The toolkit's tests; among them the proof of 1.4.6 and 1.8.9 with real pip and uv."""
    install(session, "test")
    session.run("pytest", *session.posargs)


@nox.session
def torture(session: nox.Session) -> None:
    """Publishers killed at random moments, and a crowd of them: torture -- [--kills N]."""
    install(session, "toolkit")
    env = {"PYTHONPATH": "scripts"}
    session.run("python", "tests/toolkit/torturing.py", *session.posargs, env=env)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Mutated wheels, patches, pages and lists: fuzz -- [--count N] [--seed N] [--subject NAME]."""
    install(session, "test")
    path = {"PYTHONPATH": "scripts"}
    session.run("python", "tests/toolkit/fuzzing.py", *session.posargs, env=path)


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, lint and types; and the workflows."""
    install(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("zizmor", "--offline", "--strict-collection", "--persona=pedantic", ".github")
    workflows = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Apply and repack, side by side with what one would do otherwise: benchmarks -- --help."""
    install(session, "toolkit")
    session.run("python", "benchmarks/repack.py", *session.posargs)


@nox.session
def all_releases(session: nox.Session) -> None:
    """The same for every release at once, and with nothing to do: all_releases -- --help."""
    install(session, "toolkit")
    session.run("python", "benchmarks/all_releases.py", *session.posargs)


@nox.session
def indexing(session: nox.Session) -> None:
    """An index of 2,000 wheels, side by side with dumb-pypi: indexing -- --help."""
    install(session, "toolkit")
    session.run("python", "benchmarks/index.py", *session.posargs)

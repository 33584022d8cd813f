"""Rules that every workflow keeps, some of them held by linters of workflows."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from toolkit.util.workspace import REPOSITORY

FOLDER = REPOSITORY / ".github" / "workflows"
TEXTS = {path.name: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.yml"))}
WORKFLOWS = {name: YAML(typ="safe").load(text) for name, text in TEXTS.items()}
JOBS: dict[str, dict[str, Any]] = {
    f"{name} {key}": job for name, flow in WORKFLOWS.items() for key, job in flow["jobs"].items()
}
STEPS: dict[str, dict[str, Any]] = {
    f"{name} {number}": step
    for name, job in JOBS.items()
    for number, step in enumerate(job["steps"])
}
SCRIPTS = {name: step["run"] for name, step in STEPS.items() if "run" in step}
LINT = ("--offline", "--strict-collection", "--persona=pedantic", "--no-progress")
CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
# The first major version of each action that runs on Node 24; Node 20 is gone from the runners.
NODE_24 = {
    "actions/checkout": 5,
    "actions/setup-python": 6,
    "actions/upload-artifact": 6,
    "actions/download-artifact": 7,
    "actions/cache/restore": 5,
    "actions/cache/save": 5,
    "actions/upload-pages-artifact": 5,
    "actions/deploy-pages": 5,
}


def zizmor(path: Path) -> subprocess.CompletedProcess[str]:
    return call("zizmor", *LINT, path)


def schema(*paths: Path, kind: str = "github-workflows") -> subprocess.CompletedProcess[str]:
    """GitHub's own schema of a file."""
    return call("check-jsonschema", "--builtin-schema", f"vendor.{kind}", *paths)


def call(program: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    path = Path(sysconfig.get_path("scripts")) / program
    return subprocess.run([path, *args], check=False, capture_output=True, text=True)


def test_the_linters_find_nothing() -> None:
    assert len(TEXTS) == 3
    dependabot = schema(REPOSITORY / ".github" / "dependabot.yml", kind="dependabot")
    for result in (zizmor(REPOSITORY / ".github"), schema(*FOLDER.glob("*.yml")), dependabot):
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        (CHECKOUT, "actions/checkout@v4", "unpinned-uses"),
        (CHECKOUT, "nobody/checkout@main", "unpinned-uses"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("        with:\n          persist-credentials: false\n", "", "artipacked"),
        ("run: nox -s tests", "run: echo ${{ github.head_ref }}", "template-injection"),
        ("  pull_request:", "  pull_request_target:", "dangerous-triggers"),
        ("timeout-minutes: 45", "timeout: 45", "'timeout' was unexpected"),
    ],
)
def test_the_linters_find(tmp_path: Path, old: str, new: str, finding: str) -> None:
    planted = tmp_path / ".github" / "workflows" / "ci.yml"
    planted.parent.mkdir(parents=True)
    assert old in TEXTS["ci.yml"]
    planted.write_text(TEXTS["ci.yml"].replace(old, new), "utf-8")
    result = schema(planted) if "unexpected" in finding else zizmor(tmp_path / ".github")
    assert result.returncode != 0
    assert finding in result.stdout + result.stderr


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_scripts(script: str) -> None:
    """Text from outside, secrets too, reaches a script as a variable; never as its own text."""
    assert "${{" not in script
    result = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", JOBS)
def test_jobs(name: str) -> None:
    job = JOBS[name]
    assert job["runs-on"] == "ubuntu-24.04"
    assert job["timeout-minutes"] > 0
    scripts = "\n".join(step.get("run", "") for step in job["steps"])
    # a job that writes runs no code of upstream
    if re.search(
        r"nox -s (release|prove|upstream|tests|slow|mutate)|nox -s retire .*--prove", scripts
    ):
        assert "write" not in job["permissions"].values()
    variables = [value for step in job["steps"] for value in step.get("env", {}).values()]
    secrets = [v for v in variables if re.fullmatch(r"\$\{\{ secrets\.[A-Z_]+ \}\}", v)]
    assert len(re.findall(r"\$\{\{[^}]*secrets", str(job))) == len(secrets)
    assert not secrets or job["environment"] == "index"


def test_no_pipe_hides_a_failure() -> None:
    """Without a name for the shell, only the end of a pipe counts; bash is called with pipefail."""
    pipe = re.compile(r"[^:] \| *(tee|sed|tar|tr|$)", re.M)
    piped = [name for name, script in SCRIPTS.items() if pipe.search(script)]
    assert len(piped) == 2
    assert {STEPS[name].get("shell") for name in piped} == {"bash"}


def test_no_output_is_a_command_to_the_runner() -> None:
    """Errors show what PyPI, upstream's tests and servers said, in lines of their own."""
    count = 0
    for name, script in SCRIPTS.items():
        for session, args in re.findall(r"nox -s (\S+)(.*)", script):
            if session == "matrix" or "--groups" in args or name.startswith("ci.yml"):
                continue
            before, _, after = script.partition(f"nox -s {session}{args}")
            assert 'echo "::stop-commands::$token"' in before, script
            assert 'echo "::$token::"' in after, script
            count += 1
    assert count == 10


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_actions_and_sessions(text: str) -> None:
    """Artifacts are kept for a day, actions run on Node 24, and each session exists."""
    assert text.count("          retention-days: 1\n") == text.count("uses: actions/upload-")
    assert "fetch-depth: 0" not in text
    for name, version in re.findall(r"uses: (\S+)@[0-9a-f]{40} # v(\d+)", text):
        assert int(version) >= NODE_24[name], name
    listing = subprocess.check_output(
        [sys.executable, "-m", "nox", "--list"], text=True, cwd=REPOSITORY
    )
    sessions = set(re.findall(r"^[-*] (\w+) ->", listing, re.M))
    called = set(re.findall(r"nox -s (\S+)", text))
    assert called
    assert called <= sessions


def test_ci_runs_what_the_script_for_it_runs() -> None:
    usual = ["-s refresh -- --check", "-s slow", "-s workflows -- -m quick"]
    local = (REPOSITORY / ".ci" / "run").read_text("utf-8")
    assert sorted(re.findall(r"nox (-s .*)", local)) == sorted(["-s tests lint", *usual])
    called = re.findall(r"run: nox (-s .*)", TEXTS["ci.yml"])
    assert sorted(called) == sorted(["-s tests", "-s lint", *usual])


def test_the_watch_asks_for_the_status_last() -> None:
    text = TEXTS["watch.yml"]
    order = [text.index(f"nox -s {word}") for word in ("release -- new", "announce", "status")]
    assert order == sorted(order)

"""The workflows: held to a linter of workflows, which would see what must not be there."""

from __future__ import annotations

import ast
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from toolkit.workspace import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
LINT = ("--offline", "--strict-collection", "--persona=pedantic", "--no-progress")
CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2"


def zizmor(path: Path) -> subprocess.CompletedProcess[str]:
    return call("zizmor", *LINT, path)


def schema(*paths: Path) -> subprocess.CompletedProcess[str]:
    """GitHub's own schema of a workflow."""
    return call("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *paths)


def call(program: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    path = Path(sysconfig.get_path("scripts")) / program
    return subprocess.run([path, *words], check=False, capture_output=True, text=True)


def test_the_linters_have_nothing_to_say() -> None:
    assert len(WORKFLOWS) == 3
    for done in (zizmor(REPOSITORY / ".github"), schema(*WORKFLOWS)):
        assert done.returncode == 0, done.stdout + done.stderr


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
def test_the_linter_sees(tmp_path: Path, old: str, new: str, finding: str) -> None:
    text = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    planted = tmp_path / ".github" / "workflows" / "ci.yml"
    planted.parent.mkdir(parents=True)
    assert old in text
    planted.write_text(text.replace(old, new), "utf-8")
    done = schema(planted) if "unexpected" in finding else zizmor(tmp_path / ".github")
    assert done.returncode != 0
    assert finding in done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_they_call_sessions_that_exist(path: Path) -> None:
    noxfile = ast.parse((REPOSITORY / "noxfile.py").read_text("utf-8"))
    sessions = {
        node.name
        for node in noxfile.body
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(mark) for mark in node.decorator_list)
    }
    called = set(re.findall(r"nox -s (\S+)", path.read_text("utf-8")))
    assert called
    assert called <= sessions


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_shell_takes_nothing_that_is_not_quoted(path: Path) -> None:
    """What comes from outside, secrets too, reaches a step as a variable; never as its text."""
    text = path.read_text("utf-8")
    for expression in re.findall(r"^.*\$\{\{.*\}\}.*$", text, re.M):
        where = expression.strip()
        assert re.match(r"[\w-]+: ", where) or where == "${{ matrix.python }}", where
        assert not where.startswith("run:"), where
    for secret in re.findall(r"^.*secrets\..*$", text, re.M):
        assert re.fullmatch(r"\s+[A-Z_]+: \$\{\{ secrets\.[A-Z_]+ \}\}", secret), secret
    for job in re.split(r"^  (?=\w)", text.partition("\njobs:\n")[2], flags=re.M)[1:]:
        for key in ("timeout-minutes:", "permissions:", "runs-on: ubuntu-24.04"):
            assert f"    {key}" in job, job
        if "secrets." in job:
            assert "environment: index" in job


def test_each_script_is_sound_bash() -> None:
    count = 0
    for path in WORKFLOWS:
        text = path.read_text("utf-8")
        for block in re.findall(r"^( +)run: \|\n((?:\1  .*\n|\n)+)", text, re.M):
            done = subprocess.run(["bash", "-n"], input=block[1], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            count += 1
    assert count >= 6

"""The workflows: held to a linter of workflows, which would see what must not be there."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sysconfig
from pathlib import Path

import git
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


def test_no_pipe_hides_a_failure() -> None:
    """Without a name for the shell, the end of a pipe is all that counts."""
    piped = 0
    for path in WORKFLOWS:
        for step in re.split(r"^(?:      - |  (?=\w))", path.read_text("utf-8"), flags=re.M):
            if re.search(r"[^:] \| *(tee|sed|tar|tr|$)", step, re.M):
                assert "        shell: bash # with pipefail\n" in step, step
                piped += 1
    assert piped == 4


def test_ci_runs_what_the_script_for_it_runs() -> None:
    local = (REPOSITORY / ".ci" / "run").read_text("utf-8")
    wanted = re.findall(r"nox (-s .*)", local)
    called = re.findall(r"run: nox (-s .*)", script_text("ci.yml"))
    assert wanted == ["-s tests lint", "-s refresh -- --check"]
    assert sorted(called) == ["-s lint", "-s refresh -- --check", "-s tests"]


def test_the_status_is_asked_when_there_is_something_to_tell() -> None:
    text = script_text("watch.yml")
    order = [text.index(f"nox -s {word}") for word in ("release -- new", "announce", "status")]
    assert order == sorted(order)


SHA = "5" * 40


class Steps:
    """Scripts of the workflows, run with programs that only note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.checkout = folder
        (folder / "bin").mkdir()
        (folder / "dist").mkdir()
        self.said, self.outputs, self.called = folder / "said", folder / "outputs", folder / "log"

    def program(self, name: str, text: str = "") -> None:
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.called}\n{text}\n')
        path.chmod(0o755)

    def run(self, workflow: str, name: str, **variables: str) -> int:
        """Run a step as GitHub would, whose default shell is `bash -e`; its exit code."""
        step = re.search(
            rf"^      - name: {re.escape(name)}\n((?:        .*\n|\n)+)",
            script_text(workflow),
            re.M,
        )
        assert step
        body = step[1].partition("        run: |\n")[2]
        shell = ["bash", "-eo", "pipefail"] if "shell: bash" in step[1] else ["bash", "-e"]
        env = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(self.said),
            "GITHUB_OUTPUT": str(self.outputs),
            "GITHUB_SHA": SHA,
            "RUNNER_TEMP": str(self.folder),
            **variables,
        }
        for path in (self.said, self.outputs, self.called):
            path.write_text("")
        done = subprocess.run(
            [*shell, "-c", body], env=env, cwd=self.checkout, capture_output=True, text=True
        )
        return done.returncode


def script_text(workflow: str) -> str:
    return (REPOSITORY / ".github" / "workflows" / workflow).read_text("utf-8")


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path)


PUBLISH = "Fetch, apply, repack, prove and publish"


@pytest.mark.parametrize(
    ("rows", "refused", "fixed"),
    [
        ([{"release": "1.9.0", "verdict": "publish"}], "", False),
        ([{"release": "1.9.0", "verdict": "fixed", "reason": "loses none"}], "", True),
        ([{"release": "1.9.0", "verdict": "error", "error": "other bytes"}], "1.9.0", False),
        (
            [
                {"release": "1.9.0", "verdict": "publish"},
                {"release": "1.9.1", "verdict": "conflict", "error": "does not fit"},
                {"release": "1.9.2", "verdict": "left out", "reason": "yanked"},
            ],
            "1.9.1",
            False,
        ),
    ],
)
def test_what_is_refused_keeps_nothing_else_from_the_index(
    steps: Steps, rows: list[dict[str, str]], refused: str, fixed: bool
) -> None:
    steps.program("nox", f"echo '{json.dumps(rows)}'; exit 1")
    assert steps.run("publish.yml", PUBLISH, RELEASES="1.9.0  1.9.1", BEFORE="") == 0
    done = "" if refused else f"published={SHA}\n"
    assert steps.outputs.read_text() == f"refused={refused}\n{done}"
    said = steps.said.read_text()
    assert all(f"- {row['release']}: {row['verdict']}." in said for row in rows)
    assert ("plan-to-retire" in said) == fixed
    words = "--tier full --require-upstream --index dist/index --json"
    assert steps.called.read_text() == f"nox -s release -- 1.9.0 1.9.1 {words}\n"


@pytest.mark.parametrize("answer", ["", "echo '{'"])
def test_a_publication_that_says_nothing_fails(steps: Steps, answer: str) -> None:
    steps.program("nox", f"{answer}\nexit 1")
    assert steps.run("publish.yml", PUBLISH, RELEASES="", BEFORE="") != 0


@pytest.mark.parametrize(
    ("since", "named", "words"),
    [
        (["1.9.0", "2.0.0b2"], "", "1.9.0 2.0.0b2 --yanked --tier full"),
        ([], "", "--yanked --tier full"),
        ([f"1.9.{n}" for n in range(9)], "", "1.9.8 --yanked --tier quick"),
        (["1.9.0"], "1.8.9 1.8.8", "1.8.9 1.8.8 --tier full"),
    ],
)
def test_what_main_records_and_the_index_lacks(
    steps: Steps, since: list[str], named: str, words: str
) -> None:
    """Since the commit of the last run in which nothing was refused."""
    document = json.dumps({"releases": [{"release": release} for release in since]})
    steps.program("nox", f"[[ $2 = status ]] && echo '{document}' || echo '[]'")
    steps.program("git", "[ $2 = -e ] && [ $3 = known ]")
    assert steps.run("publish.yml", PUBLISH, RELEASES=named, BEFORE="known") == 0
    asked = [line for line in steps.called.read_text().splitlines() if line.startswith("nox")]
    assert f"{words} --require-upstream" in asked[-1]
    assert ("nox -s status -- --since known --offline --json" in asked) == (not named)
    # what was named says nothing of the rest
    assert ("published=" in steps.outputs.read_text()) == (not named)
    # a history that was written anew
    assert steps.run("publish.yml", PUBLISH, RELEASES="", BEFORE="unknown") == 0
    assert "nox -s release -- --tier full" in steps.called.read_text()
    assert "published=" in steps.outputs.read_text()


def test_the_index_remembers_which_commit_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through runs that change nothing, and one that leaves the commit as it is."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b")
    origin = tmp_path / "origin"
    with git.Repo.init(origin, initial_branch="main") as repository:
        repository.git.commit("--quiet", "--allow-empty", "--message=x")

    def job(name: str) -> Steps:
        """Each works in a clone of its own."""
        folder = tmp_path / name
        folder.mkdir()
        found = Steps(folder)
        found.program("gh")
        found.checkout = folder / "checkout"
        git.Repo.clone_from(str(origin), str(found.checkout)).close()
        return found

    def known(name: str) -> str:
        steps = job(name)
        wanted = "What was published so far, and as of which commit"
        assert steps.run("publish.yml", wanted) == 0
        return steps.outputs.read_text()

    assert known("before") == ""
    for number, commit in enumerate((SHA, SHA, "6" * 40)):
        steps = job(f"keep{number}")
        (steps.folder / "index").mkdir()
        (steps.folder / "index" / "index.jsonl").write_text("{}\n")
        assert steps.run("publish.yml", "Commit it to its branch", PUBLISHED=commit) == 0
        assert known(f"known{number}") == f"published={commit}\n"
        kept = tmp_path / f"known{number}" / "checkout" / "dist" / "index" / "index.jsonl"
        assert kept.read_text() == "{}\n"


@pytest.mark.parametrize(
    ("what", "words"),
    [("plan-to-retire", "--prove"), ("retire", "--prove --yes"), ("undo-retire", "--undo")],
)
@pytest.mark.parametrize("code", [0, 1])
def test_a_series_ends_by_hand(steps: Steps, what: str, words: str, code: int) -> None:
    steps.program("nox", f"echo a plan; exit {code}")
    assert steps.run("publish.yml", "End the series, or take that back", WHAT=what) == code
    assert steps.called.read_text() == f"nox -s retire -- --index dist/index {words}\n"
    assert steps.said.read_text() == "a plan\n"
    assert what in script_text("publish.yml").partition("options: [")[2].partition("]")[0]


@pytest.mark.parametrize("known", ["", "The watch failed", "The watch failed again"])
def test_a_red_watch_opens_one_issue(steps: Steps, known: str) -> None:
    steps.program("gh", f'[ "$2" = list ] && echo "{known}" || cp body.md posted 2>&-')
    needs = {"newest": "success", "matrix": "skipped", "every": "failure", "announce": "cancelled"}
    document = json.dumps({name: {"result": result} for name, result in needs.items()})
    opened = "Open an issue, unless there is one"
    assert steps.run("watch.yml", opened, NEEDS=document, RUN="https://example.org/1") == 0
    made = "gh issue create --title The watch failed" in steps.called.read_text()
    assert made == (known != "The watch failed")
    posted = steps.folder / "posted"
    if made:
        assert posted.read_text() == (
            "- every: failure\n- announce: cancelled\n\nhttps://example.org/1\n"
        )


def test_each_script_is_sound_bash() -> None:
    count = 0
    for path in WORKFLOWS:
        text = path.read_text("utf-8")
        for block in re.findall(r"^( +)run: \|\n((?:\1  .*\n|\n)+)", text, re.M):
            done = subprocess.run(["bash", "-n"], input=block[1], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            count += 1
    assert count >= 6

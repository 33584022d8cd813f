"""The workflows: held to a linter of workflows, which would see what must not be there."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sysconfig
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import git
import pytest

from toolkit.util.workspace import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
LINT = ("--offline", "--strict-collection", "--persona=pedantic", "--no-progress")
CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"


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
    dependabot = REPOSITORY / ".github" / "dependabot.yml"
    renewing = call("check-jsonschema", "--builtin-schema", "vendor.dependabot", dependabot)
    for done in (zizmor(REPOSITORY / ".github"), schema(*WORKFLOWS), renewing):
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


# lines of a list
ALONE = ("${{ matrix.python }}", "proved-${{ matrix.group }}-")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_shell_takes_nothing_that_is_not_quoted(path: Path) -> None:
    """What comes from outside, secrets too, reaches a step as a variable; never as its text."""
    text = path.read_text("utf-8")
    for expression in re.findall(r"^.*\$\{\{.*\}\}.*$", text, re.M):
        where = expression.strip()
        assert re.match(r"[\w-]+: ", where) or where in ALONE, where
        assert not where.startswith("run:"), where
    for secret in re.findall(r"^.*\$.*secrets\..*$", text, re.M):
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
    assert piped == 2


def test_nothing_that_others_say_is_a_command_to_the_runner() -> None:
    """Errors show what PyPI, upstream's tests and servers said, in lines of their own."""
    count = 0
    for name in ("publish.yml", "watch.yml"):
        for block in re.findall(r"^( +)run: \|?\n?((?:\1  .*\n|\n)+)", script_text(name), re.M):
            for call in re.findall(r"nox -s (\S+)(.*)", block[1]):
                if call[0] == "matrix" or "--groups" in call[1]:
                    continue
                before, _, after = block[1].partition(f"nox -s {call[0]}{call[1]}")
                assert 'echo "::stop-commands::$token"' in before, block[1]
                assert 'echo "::$token::"' in after, block[1]
                count += 1
        assert not re.findall(r"run: nox", script_text(name))
    assert count == 10


def test_who_writes_runs_no_code_of_upstream() -> None:
    """And the other way round."""
    for path in WORKFLOWS:
        for job in re.split(r"^  (?=\w)", path.read_text("utf-8"), flags=re.M):
            if re.search(r"nox -s (release|prove|upstream|tests)|nox -s retire .*--prove", job):
                assert ": write" not in job.partition("    steps:")[0], job


def test_artifacts_are_kept_for_a_day_and_pinned_actions_run_on_today_s_node() -> None:
    for path in WORKFLOWS:
        text = path.read_text("utf-8")
        uploads = text.count("uses: actions/upload-")
        assert text.count("          retention-days: 1\n") == uploads
        assert "fetch-depth: 0" not in text
        for name, version in re.findall(r"uses: (\S+)@[0-9a-f]{40} # v(\d+)", text):
            assert int(version) >= NODE_24[name], name


def test_ci_runs_what_the_script_for_it_runs() -> None:
    local = (REPOSITORY / ".ci" / "run").read_text("utf-8")
    wanted = re.findall(r"nox (-s .*)", local)
    called = re.findall(r"run: nox (-s .*)", script_text("ci.yml"))
    usual = ["-s refresh -- --check", "-s workflows -- -m quick"]
    assert sorted(wanted) == sorted(["-s tests lint", *usual])
    assert sorted(called) == sorted(["-s tests", "-s lint", *usual])


def test_the_status_is_asked_when_there_is_something_to_tell() -> None:
    text = script_text("watch.yml")
    order = [text.index(f"nox -s {word}") for word in ("release -- new", "announce", "status")]
    assert order == sorted(order)


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
SHA = "5" * 40


class Steps:
    """Scripts of the workflows, run with programs that only note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.checkout = folder
        (folder / "bin").mkdir()
        (folder / "dist").mkdir()
        self.printed = ""
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
        script = re.search(r"        run: (?:\|\n)?((?:.*\n)+)", step[1])
        assert script
        body = script[1].replace(".github/", f"{REPOSITORY}/.github/")
        shell = ["bash", "-eo", "pipefail"] if "shell: bash" in step[1] else ["bash", "-e"]
        env = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(self.said),
            "GITHUB_OUTPUT": str(self.outputs),
            "GITHUB_SHA": SHA,
            "GITHUB_REPOSITORY": "someone/fork",
            "GITHUB_REPOSITORY_OWNER": "someone",
            "GITHUB_SERVER_URL": "https://github.example",
            "RUNNER_TEMP": str(self.folder),
            **variables,
        }
        for path in (self.said, self.outputs, self.called):
            path.write_text("")
        done = subprocess.run(
            [*shell, "-c", body], env=env, cwd=self.checkout, capture_output=True, text=True
        )
        self.printed = done.stdout
        return done.returncode


def script_text(workflow: str) -> str:
    return (REPOSITORY / ".github" / "workflows" / workflow).read_text("utf-8")


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path)


def told(path: Path) -> dict[str, str]:
    """The outputs that a step gave."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


PLAN = "What main records and the index lacks"


@pytest.mark.parametrize(
    ("named", "before", "count", "asked", "options"),
    [
        ("", "known", 2, "--since known --groups 20", "--yanked --tier full"),
        ("", "known", 0, "--since known --groups 20", "--yanked --tier full"),
        ("", "known", 9, "--since known --groups 20", "--yanked --tier quick"),
        ("1.8.9\n 1.8.8", "known", 2, "1.8.9 1.8.8 --groups 20", "--tier full"),
        ("1.8.9", "", 1, "1.8.9 --groups 20", "--tier full"),
        # a history that was written anew, and the first time: the newest
        ("", "gone", 1, "", "--tier full"),
        ("", "", 1, "", "--tier full"),
    ],
)
def test_what_is_to_be_published(
    steps: Steps, named: str, before: str, count: int, asked: str, options: str
) -> None:
    include = [{"group": str(n), "releases": f"1.9.{n}"} for n in range(count)]
    steps.program("nox", f"echo '{json.dumps({'include': include})}'")
    steps.program("git", '[ "${@: -1}" = known ] || { echo "fatal: not our ref x" >&2; exit 128; }')
    assert steps.run("publish.yml", PLAN, RELEASES=named, BEFORE=before) == 0
    found = told(steps.outputs)
    assert (found["releases"], found["options"]) == (str(count), options)
    calls = [line for line in steps.called.read_text().splitlines() if line.startswith("nox")]
    assert calls == ([f"nox -s status -- {asked}"] if asked else [])
    newest = [{"group": "1", "releases": ""}]
    assert json.loads(found["groups"])["include"] == (include if asked else newest)


def test_a_network_that_fails_is_no_history_that_was_written_anew(steps: Steps) -> None:
    steps.program("nox")
    steps.program("git", 'echo "fatal: unable to access: timed out" >&2; exit 128')
    assert steps.run("publish.yml", PLAN, RELEASES="", BEFORE="known") != 0
    assert steps.outputs.read_text() == ""


PROVE = "Fetch, apply, repack and prove"


def test_the_document_decides_whether_a_group_is_red(steps: Steps) -> None:
    rows = [{"release": "1.9.0", "verdict": "error"}]
    steps.program("nox", f"echo '{json.dumps(rows)}'; exit 22")
    given = {"RELEASES": "1.9.0 1.9.1", "OPTIONS": "--yanked --tier quick", "GROUP": "3"}
    assert steps.run("publish.yml", PROVE, **given) == 0
    assert "release -- 1.9.0 1.9.1 --yanked --tier quick --require-up" in steps.called.read_text()
    kept = steps.folder / "dist" / "proved" / "outcome-3.json"
    assert json.loads(kept.read_text()) == rows
    kept.unlink()
    for answer in ("", "echo '['", "echo '[]'", "echo '{}'"):
        steps.program("nox", f"{answer}\nexit 1")
        assert steps.run("publish.yml", PROVE, **given) == 1
        assert "::error::no document came out" in steps.printed
        assert not kept.exists()


MERGE = "Repack what was proved, and add it"
GOOD, BAD = {"release": "1.9.0", "verdict": "publish"}, {"release": "1.9.1", "verdict": "error"}
FIXED = {"release": "1.9.2", "verdict": "fixed"}


@pytest.mark.parametrize(
    ("groups", "published", "proved", "named", "before", "refused", "after"),
    [
        ([[GOOD], [FIXED]], [GOOD], "success", "", "old", [], SHA),
        ([], [], "skipped", "", "old", [], SHA),
        ([[GOOD, BAD]], [GOOD], "success", "", "old", ["1.9.1"], "old"),
        # what the index refuses, and a group of which nothing came out
        ([[GOOD]], [{**GOOD, "verdict": "error"}], "success", "", "old", ["1.9.0"], "old"),
        ([[GOOD]], [GOOD], "failure", "", "old", [], "old"),
        ([[GOOD]], [GOOD], "cancelled", "", "", [], ""),
        # what was named says nothing of the rest, unless there is none
        ([[GOOD]], [GOOD], "success", "1.9.0", "old", [], "old"),
        ([[GOOD]], [GOOD], "success", "1.9.0", "", [], SHA),
    ],
)
def test_what_a_run_leaves_is_what_the_next_one_begins_with(
    steps: Steps,
    groups: list[Any],
    published: list[Any],
    proved: str,
    named: str,
    before: str,
    refused: list[str],
    after: str,
) -> None:
    folder = steps.folder / "dist" / "proved"
    folder.mkdir()
    for number, rows in enumerate(groups):
        (folder / f"outcome-{number}.json").write_text(json.dumps(rows))
    steps.program("nox", f"echo '{json.dumps(published)}'; exit 22")
    given = {"PROVED": proved, "RELEASES": named, "BEFORE": before, "PAGES": "true"}
    assert steps.run("publish.yml", MERGE, **given) == 0
    found = told(steps.outputs)
    assert (json.loads(found["refused"]), found["published"]) == (refused, after)
    assert "--url https://someone.github.io/fork " in steps.called.read_text()
    assert ("plan-to-retire" in steps.said.read_text()) == ([FIXED] in groups)


@pytest.mark.parametrize("answer", ["exit 1", "exit 0", "echo '['; exit 1"])
def test_a_merge_that_says_nothing_fails(steps: Steps, answer: str) -> None:
    steps.program("nox", answer)
    assert steps.run("publish.yml", MERGE, PROVED="success", RELEASES="", BEFORE="", PAGES="") != 0
    assert steps.outputs.read_text() == ""
    assert "--url" not in steps.called.read_text()


def test_the_index_remembers_which_commit_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through runs that change nothing, and in clones that hold one commit."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b")
    origin = tmp_path / "origin"
    with git.Repo.init(origin, initial_branch="main") as repository:
        repository.git.commit("--quiet", "--allow-empty", "--message=x")

    def job(name: str) -> Steps:
        """Each works in a clone of its own, as shallow as the workflow's."""
        folder = tmp_path / name
        folder.mkdir()
        found = Steps(folder)
        found.program("gh")
        found.checkout = folder / "checkout"
        git.Repo.clone_from(origin.as_uri(), str(found.checkout), depth=1).close()
        return found

    def known(steps: Steps) -> dict[str, str]:
        assert steps.run("publish.yml", "What was published so far, and as of which commit") == 0, (
            steps.printed
        )
        return told(steps.outputs)

    assert known(job("before")) == {}
    commits = ["", SHA, SHA, "6" * 40]
    for number, commit in enumerate(commits):
        steps = job(f"merge{number}")
        parent = known(steps).get("commit", "")
        index = steps.checkout / "dist" / "index"
        (index / f"{number}.txt").write_text("x")
        (index / ".lock").write_text("")
        given = {"PARENT": parent, "PUBLISHED": commit}
        assert steps.run("publish.yml", "Commit it to its branch", **given) == 0
        after = job(f"known{number}")
        found = known(after)
        assert found["published"] == commit
        kept = sorted(path.name for path in (after.checkout / "dist" / "index").iterdir())
        assert kept == [f"{n}.txt" for n in range(number + 1)]
        with git.Repo(after.checkout) as clone:
            assert clone.git.rev_list("--count", "FETCH_HEAD") == "1"
    with git.Repo(origin) as repository:
        assert int(repository.git.rev_list("--count", "index")) == len(commits)


@pytest.mark.parametrize("code", [0, 27])
def test_a_plan_to_retire_is_told_whatever_it_says(steps: Steps, code: int) -> None:
    steps.program("nox", f"echo '``` <b>'; echo '| x' >&2; exit {code}")
    name = "Prove that the official wheels lose no call, and tell what would change"
    assert steps.run("publish.yml", name) == code
    assert "retire -- --index dist/index --prove --out" in steps.called.read_text()
    assert "--yes" not in steps.called.read_text()
    # text, and no Markdown
    assert sorted(steps.said.read_text().splitlines()) == ["", "    ``` <b>", "    | x"]


@pytest.mark.parametrize(
    ("what", "words"),
    [("retire", "--verdict dist/proved/retirement.json --yes"), ("undo-retire", "--undo")],
)
@pytest.mark.parametrize("code", [0, 1])
def test_a_series_ends_by_hand(steps: Steps, what: str, words: str, code: int) -> None:
    steps.program("nox", f"echo done; exit {code}")
    assert steps.run("publish.yml", "End the series, or take that back", WHAT=what) == code
    assert steps.called.read_text() == f"nox -s retire -- --index dist/index {words}\n"
    assert what in script_text("publish.yml").partition("options: [")[2].partition("]")[0]


@pytest.mark.parametrize(
    ("workflow", "step", "given", "code", "said"),
    [
        ("publish.yml", "PAGES is true or not set", {"PAGES": ""}, 0, ""),
        ("publish.yml", "PAGES is true or not set", {"PAGES": "True"}, 0, ""),
        ("publish.yml", "PAGES is true or not set", {"PAGES": "1"}, 1, "::error::"),
    ]
    + [
        ("publish.yml", "It is no variable of the environment, and no secret", given, code, said)
        for given, code, said in (
            ({"INDEX_URL": "", "SECRET": ""}, 0, ""),
            ({"INDEX_URL": "https://example.org/", "SECRET": ""}, 1, "variable of the repository"),
            ({"INDEX_URL": "", "SECRET": "https://example.org/"}, 1, "variable of the repository"),
        )
    ]
    + [
        ("publish.yml", "Upload what it lacks", {"INDEX_URL": "a", "WANTED": "b"}, 1, "another"),
        ("publish.yml", "Upload what it lacks", {"INDEX_URL": "a", "WANTED": "a"}, 0, ""),
    ],
)
def test_what_is_set_in_the_wrong_place_is_an_error(
    steps: Steps, workflow: str, step: str, given: dict[str, str], code: int, said: str
) -> None:
    steps.program("nox")
    assert steps.run(workflow, step, **given) == code
    assert said in steps.printed
    assert not code or steps.called.read_text() == ""


@pytest.mark.parametrize(("size", "code", "said"), [(1, 0, ""), (750, 0, "::w"), (950, 1, "::e")])
def test_a_site_that_is_too_large_is_told_before(
    steps: Steps, size: int, code: int, said: str
) -> None:
    (steps.folder / "index").mkdir()
    with (steps.folder / "index" / "sparse").open("wb") as file:
        file.truncate(size * 1_000_000)
    assert steps.run("publish.yml", "It fits, and will for some time") == code
    assert steps.printed.startswith(said)
    assert not said or f"has {size} MB" in steps.printed


DAILY, WEEKLY = "The watch failed", "The watch failed: all releases"


@pytest.mark.parametrize(
    ("results", "known", "created", "closed"),
    [
        ("success skipped skipped skipped", [], [], []),
        ("success success skipped skipped", [DAILY, WEEKLY], [], [DAILY]),
        ("success skipped success success", [DAILY, WEEKLY], [], [DAILY, WEEKLY]),
        ("success skipped success failure", [DAILY], [WEEKLY], [DAILY]),
        ("failure skipped skipped skipped", [], [DAILY], []),
        ("success cancelled skipped skipped", [DAILY], [], []),
        ("failure skipped success success", [f"{DAILY} again"], [DAILY], []),
        ("success skipped skipped skipped", ["The watch does not run"], [], ["does not run"]),
    ],
)
def test_a_red_watch_opens_one_issue_and_a_green_one_closes_it(
    steps: Steps, results: str, known: list[str], created: list[str], closed: list[str]
) -> None:
    issues = [{"number": n, "title": title} for n, title in enumerate(known, 1)]
    steps.program(
        "gh", f"[ $2 = list ] && echo '{json.dumps(issues)}' || {{ cp body.md posted || true; }}"
    )
    jobs = zip(("newest", "announce", "matrix", "every"), results.split(), strict=True)
    needs = json.dumps({name: {"result": result} for name, result in jobs})
    step = "Open an issue, unless there is one; or close it"
    assert steps.run("watch.yml", step, NEEDS=needs, RUN="https://example.org/1") == 0
    calls = steps.called.read_text().splitlines()
    titles = dict(enumerate(known, 1))
    found = [line for line in calls if "issue create" in line]
    assert [line.partition("--title ")[2].partition(" --body")[0] for line in found] == created
    ended = [titles[int(line.split()[3])] for line in calls if "issue close" in line]
    assert len(ended) == len(closed)
    assert all(title.endswith(name) for title, name in zip(ended, closed, strict=True))
    assert all("--repo github.example/someone/fork" in line for line in calls)
    if created == [WEEKLY]:
        said = (steps.folder / "posted").read_text()
        assert said == "- every: failure\n\nhttps://example.org/1\n"


@pytest.mark.parametrize(
    ("state", "age", "warned", "issue"),
    [
        ("active", 1, False, False),
        ("active", 4, True, True),
        ("disabled_inactivity", 1, True, True),
        ("disabled_manually", 1, True, False),
        ("disabled_fork", 90, True, False),
    ],
)
@pytest.mark.parametrize("ran", [True, False])
def test_a_watch_that_no_longer_runs_is_noticed(
    steps: Steps, state: str, age: int, warned: bool, issue: bool, ran: bool
) -> None:
    day = (datetime.now(UTC) - timedelta(days=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    steps.program(
        "gh",
        f"""case "$*" in
            *.state) echo {state} ;;
            *workflow_runs*) echo "{day if ran else ""}" ;;
            *.created_at) echo {day} ;;
            *list*) echo '[{{"title": "another"}}]' ;;
        esac""",
    )
    step = "Say if it was ended, or has not run for three days"
    assert steps.run("ci.yml", step) == 0
    assert ("::warning::The watch does not run" in steps.printed) == warned
    assert ("issue create" in steps.called.read_text()) == issue
    steps.program("gh", "exit 1")
    assert steps.run("ci.yml", step) == 0
    assert "is not known" in steps.printed


def test_each_script_is_sound_bash() -> None:
    count = 0
    for path in WORKFLOWS:
        text = path.read_text("utf-8")
        for block in re.findall(r"^( +)run: \|\n((?:\1  .*\n|\n)+)", text, re.M):
            done = subprocess.run(["bash", "-n"], input=block[1], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            count += 1
    assert count >= 6

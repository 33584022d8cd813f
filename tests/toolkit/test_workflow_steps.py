"""Steps of the workflows, run with programs that only note how they are called."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import git
import pytest
from ruamel.yaml import YAML

from toolkit.util.workspace import REPOSITORY

FOLDER = REPOSITORY / ".github" / "workflows"
SHA = "5" * 40


class Steps:
    """A checkout, and programs in front of the PATH; ``log`` tells how these were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.checkout = folder
        (folder / "bin").mkdir()
        (folder / "dist" / "proved").mkdir(parents=True)
        self.printed = ""
        self.log, self.summary = folder / "log", folder / "summary"

    def program(self, name: str, text: str = "") -> None:
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.log}\n{text}\n')
        path.chmod(0o755)

    def run(self, workflow: str, name: str, **variables: str) -> int:
        """Run a step as GitHub would, whose default shell is `bash -e`; return its exit code."""
        document = YAML(typ="safe").load(FOLDER / f"{workflow}.yml")
        steps = (step for job in document["jobs"].values() for step in job["steps"])
        step = next(step for step in steps if step.get("name") == name)
        shell = ["bash", "-eo", "pipefail"] if step.get("shell") == "bash" else ["bash", "-e"]
        script = step["run"].replace(".github/", f"{REPOSITORY}/.github/")
        env = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_OUTPUT": str(self.folder / "outputs"),
            "GITHUB_SHA": SHA,
            "GITHUB_REPOSITORY": "someone/fork",
            "GITHUB_REPOSITORY_OWNER": "someone",
            "GITHUB_SERVER_URL": "https://github.example",
            "RUNNER_TEMP": str(self.folder),
            **variables,
        }
        for path in (self.summary, self.folder / "outputs", self.log):
            path.write_text("")
        result = subprocess.run(
            [*shell, "-c", script], env=env, cwd=self.checkout, capture_output=True, text=True
        )
        self.printed = result.stdout
        return result.returncode

    @property
    def outputs(self) -> dict[str, str]:
        lines = (self.folder / "outputs").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def calls(self, part: str) -> list[str]:
        """The calls of programs that hold ``part``."""
        return [line for line in self.log.read_text().splitlines() if part in line]


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path)


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
    assert steps.run("publish", PLAN, RELEASES=named, BEFORE=before) == 0
    assert (steps.outputs["releases"], steps.outputs["options"]) == (str(count), options)
    assert steps.calls("nox") == ([f"nox -s status -- {asked}"] if asked else [])
    newest = [{"group": "1", "releases": ""}]
    assert json.loads(steps.outputs["groups"])["include"] == (include if asked else newest)


def test_a_network_that_fails_is_no_history_that_was_written_anew(steps: Steps) -> None:
    steps.program("nox")
    steps.program("git", 'echo "fatal: unable to access: timed out" >&2; exit 128')
    assert steps.run("publish", PLAN, RELEASES="", BEFORE="known") != 0
    assert steps.outputs == {}


def test_the_document_decides_whether_a_group_is_red(steps: Steps) -> None:
    rows = [{"release": "1.9.0", "verdict": "error"}]
    given = {"RELEASES": "1.9.0 1.9.1", "OPTIONS": "--yanked --tier quick", "GROUP": "3"}
    kept = steps.folder / "dist" / "proved" / "outcome-3.json"
    steps.program("nox", f"echo '{json.dumps(rows)}'; exit 22")
    assert steps.run("publish", "Fetch, apply, repack and prove", **given) == 0
    assert steps.calls("release -- 1.9.0 1.9.1 --yanked --tier quick --require-up")
    assert json.loads(kept.read_text()) == rows
    kept.unlink()
    for answer in ("", "echo '['", "echo '[]'", "echo '{}'"):
        steps.program("nox", f"{answer}\nexit 1")
        assert steps.run("publish", "Fetch, apply, repack and prove", **given) == 1
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
    for number, rows in enumerate(groups):
        path = steps.folder / "dist" / "proved" / f"outcome-{number}.json"
        path.write_text(json.dumps(rows))
    steps.program("nox", f"echo '{json.dumps(published)}'; exit 22")
    given = {"PROVED": proved, "RELEASES": named, "BEFORE": before, "PAGES": "true"}
    assert steps.run("publish", MERGE, **given) == 0
    assert json.loads(steps.outputs["refused"]) == refused
    assert steps.outputs["published"] == after
    assert steps.calls("--url https://someone.github.io/fork ")
    assert ("plan-to-retire" in steps.summary.read_text()) == ([FIXED] in groups)


@pytest.mark.parametrize("answer", ["exit 1", "exit 0", "echo '['; exit 1"])
def test_a_merge_that_says_nothing_fails(steps: Steps, answer: str) -> None:
    steps.program("nox", answer)
    assert steps.run("publish", MERGE, PROVED="success", RELEASES="", BEFORE="", PAGES="") != 0
    assert steps.outputs == {}
    assert not steps.calls("--url")


def test_the_index_remembers_which_commit_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through runs that change nothing, and in clones that hold one commit."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "a")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@b")
    origin = tmp_path / "origin"
    with git.Repo.init(origin, initial_branch="main") as repository:
        repository.git.commit("--quiet", "--allow-empty", "--message=x")

    def job(name: str) -> Steps:
        """Each works in a clone of its own, as shallow as the workflow's, with the index in it."""
        (tmp_path / name).mkdir()
        steps = Steps(tmp_path / name)
        steps.program("gh")
        steps.checkout = steps.folder / "checkout"
        git.Repo.clone_from(origin.as_uri(), str(steps.checkout), depth=1).close()
        name = "What was published so far, and as of which commit"
        assert steps.run("publish", name) == 0, steps.printed
        return steps

    assert job("before").outputs == {}
    commits = ["", SHA, SHA, "6" * 40]
    for number, commit in enumerate(commits):
        steps = job(f"merge{number}")
        index = steps.checkout / "dist" / "index"
        (index / f"{number}.txt").write_text("x")
        (index / ".lock").write_text("")
        given = {"PARENT": steps.outputs.get("commit", ""), "PUBLISHED": commit}
        assert steps.run("publish", "Commit it to its branch", **given) == 0
        steps = job(f"after{number}")
        assert steps.outputs["published"] == commit
        kept = sorted(path.name for path in (steps.checkout / "dist" / "index").iterdir())
        assert kept == [f"{n}.txt" for n in range(number + 1)]
        with git.Repo(steps.checkout) as clone:
            assert clone.git.rev_list("--count", "FETCH_HEAD") == "1"
    with git.Repo(origin) as repository:
        assert int(repository.git.rev_list("--count", "index")) == len(commits)


@pytest.mark.parametrize("code", [0, 27])
def test_a_plan_to_retire_is_told_whatever_it_says(steps: Steps, code: int) -> None:
    steps.program("nox", f"echo '``` <b>'; echo '| x' >&2; exit {code}")
    name = "Prove that the official wheels lose no call, and tell what would change"
    assert steps.run("publish", name) == code
    assert steps.calls("retire -- --index dist/index --prove --out")
    assert not steps.calls("--yes")
    # text, and no Markdown
    assert sorted(steps.summary.read_text().splitlines()) == ["", "    ``` <b>", "    | x"]


@pytest.mark.parametrize(
    ("what", "args"),
    [("retire", "--verdict dist/proved/retirement.json --yes"), ("undo-retire", "--undo")],
)
@pytest.mark.parametrize("code", [0, 1])
def test_a_series_ends_by_hand(steps: Steps, what: str, args: str, code: int) -> None:
    steps.program("nox", f"echo done; exit {code}")
    assert steps.run("publish", "End the series, or take that back", WHAT=what) == code
    assert steps.calls("") == [f"nox -s retire -- --index dist/index {args}"]
    options = (FOLDER / "publish.yml").read_text("utf-8").partition("options: [")[2]
    assert what in options.partition("]")[0]


PAGES, URL, UPLOAD = (
    "PAGES is true or not set",
    "It is no variable of the environment, and no secret",
    "Upload what it lacks",
)


@pytest.mark.parametrize(
    ("step", "given", "code", "printed"),
    [
        (PAGES, {"PAGES": ""}, 0, ""),
        (PAGES, {"PAGES": "True"}, 0, ""),
        (PAGES, {"PAGES": "1"}, 1, "::error::"),
        (URL, {"INDEX_URL": "", "SECRET": ""}, 0, ""),
        (URL, {"INDEX_URL": "https://example.org/", "SECRET": ""}, 1, "variable of the repository"),
        (URL, {"INDEX_URL": "", "SECRET": "https://example.org/"}, 1, "variable of the repository"),
        (UPLOAD, {"INDEX_URL": "a", "WANTED": "b"}, 1, "another"),
        (UPLOAD, {"INDEX_URL": "a", "WANTED": "a"}, 0, ""),
    ],
)
def test_what_is_set_in_the_wrong_place_is_an_error(
    steps: Steps, step: str, given: dict[str, str], code: int, printed: str
) -> None:
    steps.program("nox")
    assert steps.run("publish", step, **given) == code
    assert printed in steps.printed
    assert not code or not steps.calls("")


@pytest.mark.parametrize(
    ("size", "code", "warning"), [(1, 0, ""), (750, 0, "::w"), (950, 1, "::e")]
)
def test_a_site_that_is_too_large_is_told_before(
    steps: Steps, size: int, code: int, warning: str
) -> None:
    (steps.folder / "index").mkdir()
    with (steps.folder / "index" / "sparse").open("wb") as file:
        file.truncate(size * 1_000_000)
    assert steps.run("publish", "It fits, and will for some time") == code
    assert steps.printed.startswith(warning)
    assert not warning or f"has {size} MB" in steps.printed


DAILY, WEEKLY = "The watch failed", "The watch failed: all releases"


@pytest.mark.parametrize(
    ("results", "existing", "created", "closed"),
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
    steps: Steps, results: str, existing: list[str], created: list[str], closed: list[str]
) -> None:
    issues = json.dumps([{"number": n, "title": title} for n, title in enumerate(existing)])
    steps.program("gh", f"[ $2 = list ] && echo '{issues}' || {{ cp body.md posted || true; }}")
    jobs = zip(("newest", "announce", "matrix", "every"), results.split(), strict=True)
    needs = json.dumps({name: {"result": result} for name, result in jobs})
    name = "Open an issue, unless there is one; or close it"
    assert steps.run("watch", name, NEEDS=needs, RUN="https://example.org/1") == 0
    titles = [call.partition("--title ")[2] for call in steps.calls("issue create")]
    assert [title.partition(" --body")[0] for title in titles] == created
    ended = [existing[int(call.split()[3])] for call in steps.calls("issue close")]
    assert len(ended) == len(closed)
    assert all(title.endswith(end) for title, end in zip(ended, closed, strict=True))
    assert steps.calls("") == steps.calls("--repo github.example/someone/fork")
    if created == [WEEKLY]:
        posted = (steps.folder / "posted").read_text()
        assert posted == "- every: failure\n\nhttps://example.org/1\n"


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
    name = "Say if it was ended, or has not run for three days"
    assert steps.run("ci", name) == 0
    assert ("::warning::The watch does not run" in steps.printed) == warned
    assert bool(steps.calls("issue create")) == issue
    steps.program("gh", "exit 1")
    assert steps.run("ci", name) == 0
    assert "is not known" in steps.printed

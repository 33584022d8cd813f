"""The runner: `act` executes a workflow of a repository on this machine, without containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import standins
from ruamel.yaml import YAML
from uv import find_uv_bin

STANDINS = Path(standins.__file__)
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
# of the variables of whoever runs this: programs, words, and how to reach PyPI
_SEEN = re.compile(r"PATH|LANG|LC_.*|TZ|TMPDIR|(PIP|UV)_.*|.*_PROXY|.*_CERT_.*|.*_CA_BUNDLE", re.I)


@dataclass
class Ran:
    """What came of a workflow: the result of each job, the summary, and the runner's words.

    A job of a matrix succeeded if all of its runs did; one that was left out is "skipped".
    """

    code: int
    jobs: dict[str, str]
    summary: str = ""
    text: str = ""

    @property
    def green(self) -> bool:
        return self.code == 0

    @property
    def results(self) -> set[tuple[str, str]]:
        """The jobs that ran, and how they ended."""
        return {(job, result) for job, result in self.jobs.items() if result != "skipped"}


def workflow_of(repository: Path, name: str) -> dict[str, Any]:
    """A workflow as YAML says it."""
    text = (repository / ".github" / "workflows" / f"{name}.yml").read_text("utf-8")
    document: dict[str, Any] = YAML(typ="safe").load(text)
    return document


def permissions_of(workflow: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What each job may do, as GitHub reads it: a job's own list replaces the workflow's."""
    usual = workflow.get("permissions", {"contents": "read"})
    return {name: dict(job.get("permissions", usual)) for name, job in workflow["jobs"].items()}


def used_by(workflow: Mapping[str, Any]) -> set[str]:
    """The actions that a workflow uses, with their commits; each input must be one they take."""
    used = set()
    for job in workflow["jobs"].values():
        for step in job.get("steps", ()):
            if action := step.get("uses"):
                name = action.partition("@")[0]
                assert name in standins.ACTIONS, f"no stand-in for {name}"
                unknown = step.get("with", {}).keys() - standins.ACTIONS[name][1].keys()
                assert not unknown, f"{name} takes no {unknown}"
                used.add(action)
    return used


def write_actions(folder: Path, state: Path, used: set[str]) -> list[str]:
    """Write the stand-ins as composite actions; the runner's options that name them."""
    options = {}
    for action in used:
        name, _, commit = action.partition("@")
        owner, repository, *inside = name.split("/")
        place = folder / owner / repository
        options[f"{owner}/{repository}@{commit}"] = place
        target = place.joinpath(*inside, "action.yml")
        target.parent.mkdir(parents=True, exist_ok=True)
        inputs = {k: {"default": v, "description": k} for k, v in standins.ACTIONS[name][1].items()}
        outputs = {
            one: {"value": f"${{{{ steps.it.outputs.{one} }}}}", "description": one}
            for one in standins.OUTPUTS.get(name, ())
        }
        step = {
            "id": "it",
            "shell": "bash",
            "env": {"INPUTS": "${{ toJSON(inputs) }}"},
            "run": f"exec {sys.executable} -I {STANDINS} {state} action {name}",
        }
        about = {"name": name, "description": "a stand-in", "inputs": inputs, "outputs": outputs}
        runs = {"using": "composite", "steps": [step]}
        # JSON is YAML
        target.write_text(json.dumps({**about, "runs": runs}), "utf-8")
    return [f"--local-repository={name}={place}" for name, place in options.items()]


@dataclass
class Runner:
    """Where workflows run: ``repository`` is what is pushed, ``state`` what stands for GitHub.

    ``variables`` reach every job. Nothing of it outlives ``folder``.
    """

    folder: Path
    repository: Path
    state: Path
    variables: dict[str, str]
    runs: int = 0

    def run(
        self,
        name: str,
        event: str,
        payload: Mapping[str, Any] = {},
        *,
        variables: Mapping[str, str] = {},
        only: str = "",
        matrix: str = "",
    ) -> Ran:
        """Run a workflow for an event; ``variables`` are the repository's.

        ``only`` names a job with which it ends: a run that is cancelled there. ``matrix`` leaves
        out all but one entry, such as ``python:3.14``.
        """
        self.runs += 1
        workflow = workflow_of(self.repository, name)
        self._describe(workflow)
        home = self.folder / f"run-{self.runs}"
        home.mkdir()
        summary, refused = home / "summary", self.state / "refused"
        for path in (summary, refused):
            path.write_text("")
        command = [
            *(str(Path(sys.executable).with_name("act")), event),
            *("--workflows", f".github/workflows/{name}.yml"),
            *self._options(home, summary, payload),
            *(f"--var={key}={value}" for key, value in variables.items()),
            *(("--job", only) if only else ()),
            *(("--matrix", matrix) if matrix else ()),
            *write_actions(home / "actions", self.state, used_by(workflow)),
        ]
        done = subprocess.run(
            command,
            cwd=self.repository,
            env=self._surroundings(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        ran = read(done.returncode, done.stdout, workflow["jobs"])
        ran.text += refused.read_text("utf-8")
        ran.summary = summary.read_text("utf-8")
        shutil.rmtree(home / "act", ignore_errors=True)
        listen = set(json.loads((self.state / "listeners.json").read_text()))
        assert listen <= LOOPBACK, f"something listens on {listen - LOOPBACK}"
        return ran

    def _options(self, home: Path, summary: Path, payload: Mapping[str, Any]) -> list[str]:
        """What every run is told: on this machine, on loopback, with a token of nobody's."""
        # the runner throws summaries away, and insists on where they are
        begin = home / "bash-env"
        begin.write_text(f"export GITHUB_STEP_SUMMARY={summary}\n")
        described = {"ref": "refs/heads/main", "repository": {"default_branch": "main"}}
        (home / "event.json").write_text(json.dumps({**described, **payload}), "utf-8")
        env = {"GITHUB_RUN_ID": str(1000 + self.runs), "BASH_ENV": str(begin)}
        return [
            *("--json", "--no-skip-checkout", "--eventpath", str(home / "event.json")),
            *("--platform", "ubuntu-24.04=-self-hosted", "--action-offline-mode"),
            # nothing of ours needs its servers; if they ran, then here
            *("--no-cache-server", "--cache-server-addr", "127.0.0.1"),
            *("--artifact-server-addr", "127.0.0.1", "--action-cache-path", str(home / "act")),
            *("--secret", "GITHUB_TOKEN=a-token-of-nobody", "--actor", "maintainer"),
            *(f"--env={key}={value}" for key, value in {**self.variables, **env}.items()),
        ]

    def _describe(self, workflow: Mapping[str, Any]) -> None:
        described = {
            "permissions": permissions_of(workflow),
            "uv": find_uv_bin(),
            "constraints": str(self.repository / "constraints.txt"),
        }
        (self.state / "run.json").write_text(json.dumps(described), "utf-8")

    def _surroundings(self, home: Path) -> dict[str, str]:
        """A new machine's, with `gh` and without this one's settings; uv's cache is shared."""
        programs = home / "bin"
        programs.mkdir()
        gh = programs / "gh"
        gh.write_text(f'#!/bin/sh\nexec {sys.executable} -I {STANDINS} {self.state} gh "$@"\n')
        gh.chmod(0o755)
        (home / "home" / "act").mkdir(parents=True)
        (home / "home" / "act" / "actrc").touch()
        cache = subprocess.run(
            [find_uv_bin(), "cache", "dir"], capture_output=True, text=True, check=True
        )
        seen = {name: value for name, value in os.environ.items() if _SEEN.fullmatch(name)}
        # not the environment of the session that runs this
        here = str(Path(sys.executable).parent)
        path = [p for p in os.environ["PATH"].split(os.pathsep) if p != here]
        return {
            **seen,
            # the runner gives each step a terminal, and GitHub none
            "TERM": "dumb",
            "PATH": os.pathsep.join([str(programs), *path]),
            "HOME": str(home / "home"),
            "XDG_CONFIG_HOME": str(home / "home"),
            "UV_CACHE_DIR": cache.stdout.strip(),
        }


def read(code: int, text: str, names: Sequence[str]) -> Ran:
    """What the runner's JSON lines say."""
    jobs = dict.fromkeys(names, "skipped")
    ran = Ran(code, jobs)
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            ran.text += f"{line}\n"
            continue
        job, message = row.get("jobID", ""), row.get("msg", "")
        ran.text += f"{row.get('job', '')} | {message.rstrip()}\n"
        if result := row.get("jobResult"):
            jobs[job] = "failure" if jobs[job] == "failure" else result
    return ran

"""What upstream's own tests do to a verdict: they block, they are named, or did not run."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from making import engine_patch, write_series
from publishing import Prove, kept_in

from toolkit.cli import REPOSITORY_VARIABLE, add_proof, upstream_of
from toolkit.environments.pair import WheelPair
from toolkit.proof import summary, upstream_tests
from toolkit.proof.upstream_tests import UpstreamTests
from toolkit.proof.verdict import Verdict
from toolkit.releases.official import Settings
from toolkit.upstream_tests.compare import Request
from toolkit.upstream_tests.result import Source, UpstreamResult
from toolkit.util.errors import Unreachable, UpstreamNotRun
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace

SOURCE = Source("livekit-agents@1.8.9", "c0" * 20, "1.8.9", 0, {}, {})
GOOD = UpstreamResult("1.8.9", "passed", "7 tests pass on both sides", SOURCE, "the plugin's", 7)
BAD = UpstreamResult(
    "1.8.9", "regressed", "one is worse", SOURCE, regressed={"tests/t.py::t": "it fell"}
)
SILENT = UpstreamResult.not_run("1.8.9", "nobody answered")


class Says:
    """Stands in for upstream's tests: gives one result, and counts how often it is asked."""

    def __init__(self, result: UpstreamResult, *, required: bool = False) -> None:
        self.result, self.asked = result, 0
        self.asker = UpstreamTests("", required, Workspace(Path()))

    def asks(self, known: UpstreamResult | None) -> bool:
        return self.asker.asks(known)

    def run(self, *_: object) -> UpstreamResult:
        self.asked += 1
        if self.asker.required:
            self.result.require()
        return self.result


def test_what_upstreams_tests_say_is_in_the_verdict(proved: Prove, tmp_path: Path) -> None:
    verdict = proved(upstream=Says(GOOD))
    assert (verdict.verdict, verdict.upstream) == ("publish", GOOD)
    assert verdict.reason.endswith("; upstream's suite: 7 tests pass on both sides")
    assert "upstream's suite: 7 tests" in summary.describe(verdict)
    assert kept_in(tmp_path) == [verdict.to_json()]
    assert Verdict.parse(verdict.to_json()) == verdict
    again = Says(BAD, required=True)
    assert (proved(upstream=again), again.asked) == (verdict, 0)


def test_a_regression_blocks_and_nothing_is_kept(
    proved: Prove, tmp_path: Path, said: list[str]
) -> None:
    assert proved().verdict == "publish"
    verdict = proved(upstream=Says(BAD))
    assert verdict.verdict == "regressed"
    assert "upstream's own tests" in verdict.reason
    assert "tests/t.py::t" in verdict.reason
    assert said == ["upstream's own tests: tests/t.py::t: it fell"]
    assert kept_in(tmp_path) == []
    assert Verdict.parse(verdict.to_json()) == verdict


def test_that_they_did_not_run_is_said_and_stays_valid(proved: Prove, tmp_path: Path) -> None:
    verdict = proved(upstream=Says(SILENT))
    assert verdict.verdict == "publish"
    assert verdict.reason.endswith("; upstream's suite: not run: nobody answered")
    later = Says(GOOD)
    assert (proved(upstream=later), later.asked) == (verdict, 0)
    with pytest.raises(UpstreamNotRun, match="nobody answered"):
        proved(upstream=Says(SILENT, required=True))
    assert kept_in(tmp_path) == [verdict.to_json()]
    assert proved(upstream=Says(GOOD, required=True)).upstream == GOOD


def test_the_proof_is_kept_though_upstreams_tests_are_required(
    proved: Prove, tmp_path: Path
) -> None:
    with pytest.raises(UpstreamNotRun):
        proved(upstream=Says(SILENT, required=True))
    (kept,) = kept_in(tmp_path)
    assert Verdict.parse(kept).upstream is None


def test_wheels_that_are_not_published_are_not_asked_about(
    proved: Prove, official: list[Path], tmp_path: Path
) -> None:
    asked = Says(GOOD)
    verdict = proved(patched=official, upstream=asked)
    assert verdict.verdict != "publish"
    assert asked.asked == 0


@pytest.mark.parametrize(
    "change", [{"regressed": {}}, {"status": "passed"}, {"passed": "7"}, {"new": 1}]
)
def test_a_verdict_whose_upstream_part_is_off_is_refused(
    proved: Prove, change: dict[str, Any]
) -> None:
    document = json.loads(proved(upstream=Says(BAD)).to_json())
    document["upstream"] |= change
    with pytest.raises(Malformed):
        Verdict.parse(json.dumps(document))


# -- the asker ------------------------------------------------------------------------------------


@pytest.fixture
def asking(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Request, str]]:
    """The questions, and the repository, that come to upstream's tests."""
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    asked: list[tuple[Request, str]] = []

    def run_upstream_tests(
        question: Request, repository: str, *_: object, **__: object
    ) -> UpstreamResult:
        asked.append((question, repository))
        return SILENT

    monkeypatch.setattr(upstream_tests, "run_upstream_tests", run_upstream_tests)
    return asked


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_proof(parser, 1.0)
    return parser.parse_args(words, argparse.Namespace(offline=False))


ABOUT = (WheelPair((), (), "1.8.9", datetime(2026, 1, 1, tzinfo=UTC)), None, ())


def test_the_command_line_names_the_repository(
    workspace: Workspace,
    asking: list[tuple[Request, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert upstream_of(options("--upstream", "no"), Settings(workspace)) is None
    asker = upstream_of(options("--upstream", "elsewhere"), Settings(workspace))
    assert asker is not None
    assert asker.run(*ABOUT) == SILENT
    ((question, repository),) = asking
    assert repository == "elsewhere"
    assert question.trees["livekit-agents"] == "livekit-agents"
    monkeypatch.delenv(REPOSITORY_VARIABLE)
    usual = upstream_of(options(), Settings(workspace))
    assert usual is not None
    assert usual.repository.startswith("https://")


@pytest.mark.parametrize(
    "address",
    ["https://me:s3cret@127.0.0.1:9/agents", "https://s3cret@host/", "ssh://a:s3cret@b/c"],
)
def test_an_address_with_credentials_is_refused_and_not_repeated(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(REPOSITORY_VARIABLE, address)
    for words in (["--upstream", address], [], ["--help"]):
        with pytest.raises(SystemExit):
            options(*words)
    said = capsys.readouterr()
    assert "leave them to git's credential helper" in said.err
    assert "s3cret" not in said.out + said.err
    assert options("--upstream", "ssh://git@host/agents").upstream == "ssh://git@host/agents"


def test_a_reason_names_no_path(workspace: Workspace, tmp_path: Path) -> None:
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="a = 1")}})
    for repository in (str(tmp_path / "none"), (tmp_path / "none").as_uri()):
        said = UpstreamTests(repository, False, workspace).run(*ABOUT).why
        assert "the clone cannot be reached" in said
        assert str(tmp_path) not in said


def test_required_is_an_error_if_they_did_not_run(
    workspace: Workspace, asking: list[tuple[Request, str]]
) -> None:
    asker = upstream_of(
        options("--upstream", "elsewhere", "--require-upstream"), Settings(workspace)
    )
    assert asker is not None
    with pytest.raises(UpstreamNotRun) as caught:
        asker.run(*ABOUT)
    assert caught.value.exit_code == 24


def test_offline_asks_no_server(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="a = 1")}})
    asked: list[str] = []

    def tags_of(repository: str) -> tuple[()]:
        asked.append(repository)
        raise Unreachable("nobody answered", next_step="wait")

    monkeypatch.setattr("toolkit.upstream_tests.compare.tags_of", tags_of)
    assert UpstreamTests("https://upstream.invalid", False, workspace, True).run(*ABOUT).why == (
        "it is elsewhere, and --offline was given"
    )
    assert asked == []
    said = UpstreamTests(str(tmp_path), False, workspace, True).run(*ABOUT).why
    assert (said, asked) == ("nobody answered", [str(tmp_path)])

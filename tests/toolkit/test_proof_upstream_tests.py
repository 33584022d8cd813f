"""Upstream's own tests in a verdict: they block it, are named in it, or did not run."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from publishing import Prove, kept_in
from series import engine_patch, write_series

from toolkit.cli import REPOSITORY_VARIABLE, add_proof, upstream_of
from toolkit.environments.pair import WheelPair
from toolkit.proof import summary
from toolkit.proof.upstream_tests import UpstreamTests
from toolkit.proof.verdict import Verdict
from toolkit.releases.official import Settings
from toolkit.upstream_tests.result import Source, UpstreamResult
from toolkit.util.errors import UpstreamNotRun
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace

SOURCE = Source("livekit-agents@1.8.9", "c0" * 20, "1.8.9", 0, {}, {})
GOOD = UpstreamResult("1.8.9", "passed", "7 tests pass on both sides", SOURCE, "the plugin's", 7)
BAD = UpstreamResult("1.8.9", "regressed", "one is worse", SOURCE, regressed={"t.py::t": "it fell"})
SILENT = UpstreamResult.not_run("1.8.9", "nobody answered")


class Says:
    """Stands in for upstream's tests: gives one result, and counts its runs."""

    def __init__(self, result: UpstreamResult, *, required: bool = False) -> None:
        self.result, self.required, self.runs = result, required, 0
        self.asks = UpstreamTests("", required, Workspace(Path())).asks

    def run(self, *_: object) -> UpstreamResult:
        self.runs += 1
        if self.required:
            self.result.require()
        return self.result


def test_the_result_is_in_the_verdict(proved: Prove, tmp_path: Path) -> None:
    verdict = proved(upstream=Says(GOOD))
    assert (verdict.verdict, verdict.upstream) == ("publish", GOOD)
    assert verdict.reason.endswith("; upstream's suite: 7 tests pass on both sides")
    assert "upstream's suite: 7 tests" in summary.describe(verdict)
    assert kept_in(tmp_path) == [verdict.to_json()]
    assert Verdict.parse(verdict.to_json()) == verdict
    again = Says(BAD, required=True)
    assert (proved(upstream=again), again.runs) == (verdict, 0)


def test_a_regression_blocks_and_nothing_is_kept(
    proved: Prove, tmp_path: Path, said: list[str]
) -> None:
    assert proved().verdict == "publish"
    verdict = proved(upstream=Says(BAD))
    assert verdict.verdict == "regressed"
    assert verdict.reason == "of upstream's own tests 1 tests (the first: t.py::t) regressed"
    assert said == ["upstream's own tests: t.py::t: it fell"]
    assert kept_in(tmp_path) == []
    assert Verdict.parse(verdict.to_json()) == verdict
    changes: list[dict[str, Any]] = [{"regressed": {}}, {"status": "passed"}, {"passed": "7"}]
    for change in (*changes, {"new": 1}):
        document = json.loads(verdict.to_json())
        document["upstream"] |= change
        with pytest.raises(Malformed):
            Verdict.parse(json.dumps(document))


def test_that_they_did_not_run_is_said_and_stays_valid(proved: Prove, tmp_path: Path) -> None:
    with pytest.raises(UpstreamNotRun):
        proved(upstream=Says(SILENT, required=True))
    # the proof is kept all the same
    (kept,) = kept_in(tmp_path)
    assert Verdict.parse(kept).upstream is None
    verdict = proved(upstream=Says(SILENT))
    assert verdict.verdict == "publish"
    assert verdict.reason.endswith("; upstream's suite: not run: nobody answered")
    later = Says(GOOD)
    assert (proved(upstream=later), later.runs) == (verdict, 0)
    with pytest.raises(UpstreamNotRun, match="nobody answered"):
        proved(upstream=Says(SILENT, required=True))
    assert kept_in(tmp_path) == [verdict.to_json()]
    assert proved(upstream=Says(GOOD, required=True)).upstream == GOOD


def test_they_do_not_run_for_wheels_that_are_not_published(
    proved: Prove, official: list[Path]
) -> None:
    tests = Says(GOOD)
    assert proved(patched=official, upstream=tests).verdict != "publish"
    assert tests.runs == 0


# -- options --------------------------------------------------------------------------------------

ABOUT: Any = (WheelPair((), (), "1.8.9", datetime(2026, 1, 1, tzinfo=UTC)), None, ())


@pytest.fixture(autouse=True)
def series(workspace: Workspace) -> None:
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_proof(parser, 1.0)
    return parser.parse_args(words)


def test_the_command_line_names_the_repository(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, missing = Settings(workspace), str(tmp_path / "missing")
    assert upstream_of(options("--upstream", "no"), settings) is None
    tests = upstream_of(options("--upstream", missing), settings)
    assert tests is not None
    assert tests.run(*ABOUT).state == "not reached"
    required = upstream_of(options("--upstream", missing, "--require-upstream"), settings)
    assert required is not None
    with pytest.raises(UpstreamNotRun) as caught:
        required.run(*ABOUT)
    assert caught.value.exit_code == 24
    monkeypatch.delenv(REPOSITORY_VARIABLE)
    usual = upstream_of(options(), settings)
    assert usual is not None
    assert (usual.repository[:8], usual.named, tests.named) == ("https://", False, True)


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
    printed = capsys.readouterr()
    assert "leave them to git's credential helper" in printed.err
    assert "s3cret" not in printed.out + printed.err
    assert options("--upstream", "ssh://git@host/agents").upstream == "ssh://git@host/agents"

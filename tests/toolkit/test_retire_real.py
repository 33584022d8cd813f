"""A release in which upstream has taken the series, with the real wheels, suite and explorer."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from making import Index
from planting import plant

import release as release_verb
import retire as verb
from toolkit.errors import NotFixed, NotProved
from toolkit.fetched import fetch_release
from toolkit.files import sha256_of
from toolkit.outcome import Outcomes
from toolkit.retiring import remember, remembered
from toolkit.series import Series
from toolkit.verdict import Verdict
from toolkit.workspace import CACHE_VARIABLE, REPOSITORY, Workspace

pytestmark = pytest.mark.pypi


def test_upstream_takes_the_series(
    index: Index,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(REPOSITORY / "patches", workspace.patches)
    series = Series.load(workspace.patches)
    official = fetch_release("1.8.9", workspace)
    planted = plant(official, series, "1.8.10", tmp_path / "planted")
    for path in (*official.paths, *planted):
        late = path in planted
        index.add(path, datetime(2026, 11, 1, tzinfo=UTC) if late else official.release.uploaded)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    places = ["--pypi", index.url, "--patches", str(workspace.patches)]
    places += ["--index", str(tmp_path / "index"), "--json"]
    release_verb.main(["1.8.10", "--refresh", str(tmp_path / "refresh"), *places])
    said = capsys.readouterr()
    (row,) = json.loads(said.out)
    assert (row["verdict"], row["exit_code"]) == ("fixed", NotProved.exit_code), said.err
    assert not (tmp_path / "refresh").exists()
    assert verb.main(["--yes", *places]) == NotFixed.exit_code

    # the tier full takes too long for a test: what the tier quick found is judged as if it were
    release = fetch_release("1.8.10", workspace, endpoint=index.url).release
    outcomes = Outcomes.open(workspace.outcomes)
    verdict = remembered(outcomes, release, "quick")
    assert verdict is not None
    assert verdict.wheels == {path.name: sha256_of(path) for path in planted}
    ran = verdict.exploration
    assert ran is not None
    sides = [replace(side, whole=1) for side in (ran.official, ran.patched)]
    ran = replace(ran, tier="full", official=sides[0], patched=sides[1])
    reason = verdict.reason.replace("tier quick", "tier full")
    verdict = Verdict.parse(replace(verdict, exploration=ran, reason=reason).to_json())
    remember(outcomes, release, verdict)
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "index.jsonl").touch()
    assert verb.main(["--yes", *places]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["new"][1:] == [
        "livekit_dispatched-1.8.10.0-py3-none-any.whl",
        "livekit_plugins_openai-1.8.10-py3-none-any.whl",
    ]

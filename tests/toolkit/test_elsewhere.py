"""Proved on one machine and published on another: ``release --verdicts``, ``publish --from``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from making import AGENTS, PLUGIN, Index, engine_patch, make_wheel, write_series
from publishing import LOSS, explored, outcome, proof_of, run_of, snapshot, subject_of
from standing_in import replace_proof

import publish as merging
import release as proving
from toolkit.environments.pair import WheelPair
from toolkit.index.publish import read_list
from toolkit.proof.prove import ProofSettings
from toolkit.proof.verdict import Verdict
from toolkit.util.files import sha256
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

RELEASES = ("1.8.9", "1.8.8")


def proof(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
    """A proof that lets the wheels in."""
    return replace(proof_of(list(pair.patched), pair.release), series=pair.series)


def refutation(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
    """One that does not: a test passes on the official wheels alone."""
    subject = subject_of(list(pair.patched), pair.release)
    before, after = outcome(check="wire"), outcome("failed", check="wire")
    lost, saved = outcome("failed", documented=True), outcome("passed", documented=True)
    verdict = Verdict.of(
        replace(subject, series=pair.series),
        run_of({LOSS: lost, "test_b": before}),
        run_of({LOSS: saved, "test_b": after}),
        explored(),
    )
    assert verdict.verdict == "regressed"
    return verdict


class There:
    """Two releases on an index on loopback, a series that fits both, and folders."""

    def __init__(self, workspace: Workspace, folder: Path, capsys: pytest.CaptureFixture[str]):
        self.patches, self._capsys = workspace.patches, capsys
        self.proved, self.index, self.summary = (folder / n for n in ("proved", "index", "sum.md"))
        self.scratch = folder / "scratch"

    def prove(self, *releases: str, code: int = 0, out: Path | None = None) -> None:
        places = ("--index", str(self.scratch), "--patches", str(self.patches))
        words = [*releases, *places, "--verdicts", str(out or self.proved), "--json"]
        assert proving.main(words) == code

    def merge(self, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
        self._capsys.readouterr()
        places = ("--index", str(self.index), "--patches", str(self.patches), "--json")
        summary = ("--summary", str(self.summary))
        assert merging.main(["--from", str(self.proved), *places, *summary, *words]) == code
        rows = json.loads(self._capsys.readouterr().out)
        return {row["release"]: row for row in rows}


@pytest.fixture
def there(
    index: Index,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> There:
    for version in RELEASES:
        for name in (AGENTS, PLUGIN):
            index.add(make_wheel(tmp_path / "w", name, version))
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    replace_proof(monkeypatch, proof)
    return There(workspace, tmp_path, capsys)


def hashes(folder: Path) -> dict[str, str]:
    return {name: entry.sha256 for name, entry in read_list(folder).items()}


def test_what_was_proved_elsewhere_is_repacked_and_published(
    there: There, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number, release in enumerate(RELEASES):
        there.prove(release, out=there.proved / str(number))
    there.prove(*RELEASES, out=tmp_path / "remembered")
    names = sorted(path.name for path in there.proved.rglob("*.verdict.json"))
    assert names == ["1.8.8.verdict.json", "1.8.9.verdict.json"]
    assert sorted(path.name for path in (tmp_path / "remembered").iterdir()) == names
    # another machine, which has no cache and proves nothing
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "other"))
    rows = there.merge("--url", "https://example.org/fixed")
    assert {name: row["verdict"] for name, row in rows.items()} == dict.fromkeys(
        RELEASES, "publish"
    )
    assert hashes(there.index) == hashes(there.scratch)
    assert len(rows["1.8.9"]["new"]) == 3
    assert "https://example.org/fixed/simple/" in rows["1.8.9"]["pip"]
    assert "file:" not in rows["1.8.9"]["pip"] + rows["1.8.9"]["uv"]
    said = there.summary.read_text()
    assert all(row["uv"] in said and row["pip"] in said for row in rows.values())
    before = snapshot(there.index)
    assert [row["new"] for row in there.merge().values()] == [[], []]
    assert snapshot(there.index) == before


def test_a_picture_goes_with_its_verdict(there: There, workspace: Workspace) -> None:
    there.prove("1.8.9")
    (outcome,) = workspace.outcomes.glob("*.verdict.json")
    picture = outcome.with_name(outcome.name.replace(".verdict.json", ".svg"))
    picture.write_text("<svg/>")
    there.prove("1.8.9")
    assert (there.proved / "1.8.9.verdict.svg").read_text() == "<svg/>"
    there.merge()
    assert [path.read_text() for path in (there.index / "verdicts").glob("*.svg")] == ["<svg/>"]


def refuse_bytes(there: There) -> None:
    path = there.proved / "1.8.9.verdict.json"
    text = path.read_text()
    for name, digest in json.loads(text)["wheels"].items():
        text = text.replace(digest, sha256(name.encode()))
    path.write_text(text)


def refuse_series(there: There) -> None:
    path = there.proved / "1.8.9.verdict.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "series": "f" * 64}))


def refuse_document(there: There) -> None:
    (there.proved / "1.8.9.verdict.json").write_text("{")


def refuse_patch(there: There) -> None:
    fits = engine_patch(line9="first = 1")
    fits_not = fits.replace(" value_8 =", " another =")
    write_series(there.patches, {"guard": {"1.0": fits, "1.8.9": fits_not}})


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (refuse_bytes, "does not speak of these bytes"),
        (refuse_series, "is on another series"),
        (refuse_document, "is no verdict"),
        (refuse_patch, "does not apply"),
    ],
)
def test_one_that_is_refused_keeps_no_other_back(there: There, spoil: Any, why: str) -> None:
    there.prove(*RELEASES)
    spoil(there)
    rows = there.merge(code=22)
    assert rows["1.8.8"]["verdict"] == "publish"
    assert rows["1.8.9"]["verdict"] in ("error", "conflict")
    assert why in rows["1.8.9"]["error"]
    assert {name.split("-")[1] for name in hashes(there.index)} >= {"1.8.8+dispatched.1"}
    assert not [name for name in hashes(there.index) if "1.8.9" in name]


def test_only_what_a_verdict_lets_in_is_published(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.prove("1.8.8")
    replace_proof(monkeypatch, refutation)
    there.prove("1.8.9", code=18)
    assert (there.proved / "1.8.9.verdict.json").is_file()
    assert there.merge()["1.8.9"]["verdict"] == "regressed"
    assert not [name for name in hashes(there.index) if "1.8.9" in name]


def test_a_verdict_is_there_before_the_run_ends(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that takes too long is ended; what it finished until then is not lost."""

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Any:
        if pair.release == "1.8.8":
            assert (there.proved / "1.8.9.verdict.json").is_file()
            raise KeyboardInterrupt
        return proof(pair, settings)

    replace_proof(monkeypatch, prove)
    there.prove(*RELEASES, "--jobs", "1", code=130)
    assert list(there.merge()) == ["1.8.9"]


def test_what_a_proof_says_is_summed_up(there: There, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    there.prove("1.8.9", "7.7.7", "--summary", str(summary), code=22)
    said = summary.read_text()
    assert "| <code>1.8.9</code> | <code>publish</code> |" in said
    assert "| <code>7.7.7</code> | <code>error</code> |  |  | <code>" in said
    # it is in no index that anybody else reaches
    assert "pip install" not in said


def test_nothing_was_proved(there: There) -> None:
    there.proved.mkdir()
    assert there.merge() == {}
    assert "Nothing new" in there.summary.read_text()
    assert read_list(there.index) == {}


@pytest.mark.parametrize(
    "words",
    [
        ("--from", "nowhere"),
        ("--from", ".", "--yank", "1.8.9", "--reason", "x"),
        ("--from", ".", "--to", "http://127.0.0.1:9/"),
        ("--summary", "x.md"),
    ],
)
def test_what_does_not_go_together(words: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        merging.main(["--index", str(tmp_path), *words])
    assert caught.value.code == 2

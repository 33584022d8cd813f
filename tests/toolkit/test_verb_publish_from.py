"""Proved on one machine and published on another: ``release --verdicts``, ``publish --from``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from publishing import LOSS, explored, outcome, run_of, snapshot, subject_of
from series import engine_patch, write_series
from standing_in import publishes, replace_proof
from upstream_index import Upstream
from verbs import RunVerb

from toolkit.environments.pair import WheelPair
from toolkit.index.ledger import Ledger
from toolkit.proof.settings import ProofSettings
from toolkit.proof.verdict import Verdict
from toolkit.util.files import sha256
from toolkit.util.workspace import CACHE_VARIABLE

RELEASES = ("1.8.9", "1.8.8")


def refutes(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
    """A proof that keeps the wheels out: a test passes on the official ones alone."""
    lost, saved = outcome("failed", documented=True), outcome("passed", documented=True)
    verdict = Verdict.of(
        replace(subject_of(list(pair.patched), pair.release), series=pair.series),
        run_of({LOSS: lost, "test_b": outcome(check="wire")}),
        run_of({LOSS: saved, "test_b": outcome("failed", check="wire")}),
        explored(),
    )
    assert verdict.verdict == "regressed"
    return verdict


@dataclass(frozen=True)
class Machines:
    """One that proves into ``proved``, and one that publishes from there into ``index``."""

    upstream: Upstream
    folder: Path

    @property
    def proved(self) -> Path:
        return self.folder / "proved"

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def summary(self) -> Path:
        return self.folder / "summary.md"

    @property
    def verdict(self) -> Path:
        return self.proved / "1.8.9.verdict.json"

    def prove(self, *args: str, code: int = 0, out: Path | None = None) -> None:
        options = ("--index", self.folder / "scratch", "--verdicts", out or self.proved, "--json")
        self.upstream.run("release", *args, *options, code=code)

    def merge(self, *args: str, code: int = 0) -> dict[str, dict[str, Any]]:
        options = ("--from", self.proved, "--index", self.index, "--summary", self.summary)
        result = self.upstream.run("publish", *options, "--json", *args, code=code)
        return {row["release"]: row for row in result.json}

    def published(self) -> list[str]:
        """The releases in the index, with the local part where they are patched."""
        return sorted({name.split("-")[1] for name in hashes(self.index)})


@pytest.fixture
def machines(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    upstream.add_two_releases()
    replace_proof(monkeypatch, publishes)
    return Machines(upstream, tmp_path)


def hashes(folder: Path) -> dict[str, str]:
    return {name: entry.sha256 for name, entry in Ledger.read(folder).files.items()}


def test_what_was_proved_elsewhere_is_repacked_and_published(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number, release in enumerate(RELEASES):
        machines.prove(release, out=machines.proved / str(number))
    machines.prove(*RELEASES, out=tmp_path / "remembered")
    names = sorted(path.name for path in machines.proved.rglob("*.verdict.json"))
    assert names == ["1.8.8.verdict.json", "1.8.9.verdict.json"]
    assert sorted(path.name for path in (tmp_path / "remembered").iterdir()) == names
    # another machine, which has no cache and proves nothing
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "other"))
    rows = machines.merge("--url", "https://example.org/fixed")
    assert {n: row["verdict"] for n, row in rows.items()} == dict.fromkeys(RELEASES, "publish")
    assert hashes(machines.index) == hashes(tmp_path / "scratch")
    row = rows["1.8.9"]
    assert len(row["new"]) == 3
    assert "https://example.org/fixed/simple/" in row["pip"]
    assert "file:" not in row["pip"] + row["uv"]
    summary = machines.summary.read_text()
    assert all(row["uv"] in summary and row["pip"] in summary for row in rows.values())
    before = snapshot(machines.index)
    assert [row["new"] for row in machines.merge().values()] == [[], []]
    assert snapshot(machines.index) == before


def test_a_picture_goes_with_its_verdict(machines: Machines) -> None:
    machines.prove("1.8.9")
    (kept,) = machines.upstream.workspace.outcomes.glob("*.verdict.json")
    kept.with_name(kept.name.replace(".verdict.json", ".svg")).write_text("<svg/>")
    machines.prove("1.8.9")
    assert machines.verdict.with_suffix(".svg").read_text() == "<svg/>"
    machines.merge()
    assert [p.read_text() for p in (machines.index / "verdicts").glob("*.svg")] == ["<svg/>"]


def other_bytes(machines: Machines) -> None:
    text = machines.verdict.read_text()
    for name, digest in json.loads(text)["wheels"].items():
        text = text.replace(digest, sha256(name.encode()))
    machines.verdict.write_text(text)


def other_series(machines: Machines) -> None:
    document = json.loads(machines.verdict.read_text())
    machines.verdict.write_text(json.dumps({**document, "series": "f" * 64}))


def no_document(machines: Machines) -> None:
    machines.verdict.write_text("{")


def other_patch(machines: Machines) -> None:
    fits = engine_patch(line9="first = 1")
    variants = {"1.0": fits, "1.8.9": fits.replace(" value_8 =", " another =")}
    write_series(machines.upstream.workspace.patches, {"guard": variants})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (other_bytes, "does not speak of these bytes"),
        (other_series, "is on another series"),
        (no_document, "is no verdict"),
        (other_patch, "does not apply"),
    ],
)
def test_one_that_is_refused_keeps_no_other_back(
    machines: Machines, spoil: Callable[[Machines], None], reason: str
) -> None:
    machines.prove(*RELEASES)
    spoil(machines)
    rows = machines.merge(code=22)
    assert rows["1.8.8"]["verdict"] == "publish"
    assert rows["1.8.9"]["verdict"] in ("error", "conflict")
    assert reason in rows["1.8.9"]["error"]
    assert "1.8.8+dispatched.1" in machines.published()
    assert not [release for release in machines.published() if release.startswith("1.8.9")]


def test_only_what_a_verdict_lets_in_is_published(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.prove("1.8.8")
    replace_proof(monkeypatch, refutes)
    machines.prove("1.8.9", code=18)
    assert machines.verdict.is_file()
    assert machines.merge()["1.8.9"]["verdict"] == "regressed"
    assert not [release for release in machines.published() if release.startswith("1.8.9")]


def test_a_verdict_is_there_before_the_run_ends(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that takes too long is ended; what it finished until then is not lost."""

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Any:
        if pair.release == "1.8.8":
            assert machines.verdict.is_file()
            raise KeyboardInterrupt
        return publishes(pair, settings)

    replace_proof(monkeypatch, prove)
    machines.prove(*RELEASES, "--jobs", "1", code=130)
    assert list(machines.merge()) == ["1.8.9"]


def test_what_a_proof_says_is_summed_up(machines: Machines) -> None:
    machines.prove("1.8.9", "7.7.7", "--summary", str(machines.summary), code=22)
    summary = machines.summary.read_text()
    assert "| <code>1.8.9</code> | <code>publish</code> |" in summary
    assert "| <code>7.7.7</code> | <code>error</code> |  |  | <code>" in summary
    # it is in no index that anybody else reaches
    assert "pip install" not in summary


def test_nothing_was_proved(machines: Machines) -> None:
    machines.proved.mkdir()
    assert machines.merge() == {}
    assert "Nothing new" in machines.summary.read_text()
    assert Ledger.read(machines.index).files == {}


@pytest.mark.parametrize(
    "args",
    [
        ("--from", "nowhere"),
        ("--from", ".", "--yank", "1.8.9", "--reason", "x"),
        ("--from", ".", "--to", "http://127.0.0.1:9/"),
        ("--summary", "x.md"),
    ],
)
def test_what_does_not_go_together(
    args: tuple[str, ...], tmp_path: Path, run_verb: RunVerb
) -> None:
    assert run_verb("publish", "--index", tmp_path, *args).code == 2

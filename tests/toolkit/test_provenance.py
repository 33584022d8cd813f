"""The statement beside a wheel: what it says, that it is deterministic, and how it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from publishing import make_pair, proof_of
from series import engine_patch, write_series

from toolkit.index.provenance import Statement, official_name, statements
from toolkit.index.staged_wheel import Generated
from toolkit.patches.series import Series
from toolkit.proof.verdict import Proof, Verdict
from toolkit.util.errors import InvalidWheel
from toolkit.util.files import sha256, sha256_of
from toolkit.util.strict_json import Malformed

OFFICIAL = "livekit_agents-1.8.9-py3-none-any.whl"


@pytest.fixture
def series(tmp_path: Path) -> Series:
    folder = tmp_path / "patches"
    return Series.load(write_series(folder, {"guard": {"1.0": engine_patch(line9="first = 1")}}))


@pytest.fixture
def proof(patched: list[Path], series: Series) -> Proof:
    document = json.loads(proof_of(patched).to_json())
    document["series"] = series.digest(Version("1.8.9"))
    return Proof.of(Verdict.parse(json.dumps(document)))


def test_what_it_says(patched: list[Path], proof: Proof, series: Series, tmp_path: Path) -> None:
    companion = Generated("livekit_dispatched-1.8.9.1-py3-none-any.whl", b"bytes", b"")
    made = statements(patched, proof, official={}, series=series, generated=[companion])
    assert set(made) == {*(wheel.name for wheel in patched), companion.filename}
    ours, partner, generated = (Statement.parse(data) for data in made.values())
    assert (ours.kind, partner.kind, generated.kind) == ("repacked", "official", "generated")
    assert (ours.name, ours.sha256) == (patched[0].name, sha256_of(patched[0]))
    assert ours.sources == {OFFICIAL: "0" * 64}
    assert partner.sources == {patched[1].name: sha256_of(patched[1])}
    assert generated.sources == {wheel.name: sha256_of(wheel) for wheel in patched}
    assert generated.sha256 == sha256(b"bytes")
    (applied,) = ours.patches
    variant = tmp_path / "patches/guard/1.0.patch"
    assert (applied.patch, applied.variant, applied.sha256) == (
        "guard", "1.0.patch", sha256_of(variant)
    )  # fmt: skip
    assert not partner.patches
    assert (ours.release, ours.revision, ours.series) == (
        "1.8.9", 1, series.digest(Version("1.8.9"))
    )  # fmt: skip
    assert (ours.verdict, ours.verdict_sha256) == (proof.name, sha256(proof.data))
    assert (ours.result, ours.tier, ours.toolkit) == ("publish", "quick", "0.1.0")


def test_the_same_input_gives_the_same_bytes(
    patched: list[Path], proof: Proof, series: Series
) -> None:
    one, other = (
        statements(w, proof, official={}, series=series) for w in (patched, patched[::-1])
    )
    assert one == other
    assert all(Statement.parse(data).to_json() == data for data in one.values())


def test_a_series_that_moved_on_is_not_described(
    patched: list[Path], proof: Proof, series: Series, tmp_path: Path
) -> None:
    (tmp_path / "patches/guard/1.0.patch").write_text(engine_patch(line9="second = 2"))
    moved = Series.load(tmp_path / "patches")
    said = Statement.parse(statements(patched, proof, official={}, series=moved)[patched[0].name])
    assert said.series == json.loads(proof.data)["series"] != moved.digest(Version("1.8.9"))
    assert said.patches == ()


def test_an_unknown_official_wheel(tmp_path: Path, series: Series) -> None:
    proof = Proof.of(proof_of(make_pair(tmp_path, "+dispatched.1", "1.8.8"), "1.8.9"))
    with pytest.raises(InvalidWheel, match="which official file"):
        statements(make_pair(tmp_path, "+dispatched.1", "1.8.8"), proof, official={}, series=series)


def test_official_names() -> None:
    assert official_name("livekit_agents-1.8.9+dispatched.1-py3-none-any.whl") == OFFICIAL
    name = "livekit_agents-2.0.0b1+dispatched.1-cp310-abi3-win_amd64.whl"
    assert official_name(name) == "livekit_agents-2.0.0b1-cp310-abi3-win_amd64.whl"


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://slsa.dev/provenance/v1"},
        {"subject": []},
        {"subject": [{"name": "x", "digest": {"md5": "0"}}]},
        {"predicate": {}},
        {"more": 1},
    ],
)
def test_another_statement(
    patched: list[Path], proof: Proof, series: Series, change: dict[str, Any]
) -> None:
    data = statements(patched, proof, official={}, series=series)[patched[0].name]
    with pytest.raises(Malformed):
        Statement.parse(json.dumps({**json.loads(data), **change}).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{}"])
def test_no_statement(data: bytes) -> None:
    with pytest.raises(Malformed):
        Statement.parse(data)

"""The statement beside a wheel: what it says, that it is deterministic, and how it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from publishing import make_pair, proof_of
from series import engine_patch, write_series

from toolkit.index.provenance import Applied, Statement, statements
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
    made = Generated("livekit_dispatched-1.8.9.1-py3-none-any.whl", b"bytes", b"")
    texts = statements(patched, proof, official={}, series=series, generated=[made])
    assert set(texts) == {*(wheel.name for wheel in patched), made.filename}
    repacked, partner, generated = (Statement.parse(text) for text in texts.values())
    variant = tmp_path / "patches/guard/1.0.patch"
    digest = series.digest(Version("1.8.9"))
    assert repacked == Statement(
        kind="repacked",
        release="1.8.9",
        revision=1,
        sources={OFFICIAL: "0" * 64},
        series=digest,
        patches=(Applied("guard", "1.0.patch", sha256_of(variant)),),
        verdict=proof.name,
        verdict_sha256=sha256(proof.data),
        result="publish",
        tier="quick",
        toolkit="0.1.0",
        format=1,
        name=patched[0].name,
        sha256=sha256_of(patched[0]),
    )
    assert (partner.kind, partner.patches) == ("official", ())
    assert partner.sources == {patched[1].name: sha256_of(patched[1])}
    assert (generated.kind, generated.sha256) == ("generated", sha256(b"bytes"))
    assert generated.sources == {wheel.name: sha256_of(wheel) for wheel in patched}


def test_the_same_input_gives_the_same_bytes(
    patched: list[Path], proof: Proof, series: Series
) -> None:
    once, again = (
        statements(w, proof, official={}, series=series) for w in (patched, patched[::-1])
    )
    assert once == again
    for text in once.values():
        assert Statement.parse(text).to_json() == text
        assert text.decode() == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


@pytest.mark.parametrize(
    "patches",
    [
        {"guard": {"1.0": engine_patch(line9="second = 2")}},
        {"guard": {"2.0": engine_patch(line9="first = 1")}},
    ],
    ids=["changed", "begins later"],
)
def test_a_series_that_moved_on_is_not_described(
    patched: list[Path], proof: Proof, tmp_path: Path, patches: dict[str, dict[str, str]]
) -> None:
    moved = Series.load(write_series(tmp_path / "moved", patches))
    texts = statements(patched, proof, official={}, series=moved)
    statement = Statement.parse(texts[patched[0].name])
    assert statement.series == json.loads(proof.data)["series"]
    assert statement.patches == ()


@pytest.mark.parametrize(
    ("spelled", "source"),
    [("1.8.8.rc1", "livekit_agents-1.8.8.rc1-py3-none-any.whl"), ("1.8.9", None)],
)
def test_the_official_wheel_that_a_repacked_one_was_made_from(
    tmp_path: Path, series: Series, spelled: str, source: str | None
) -> None:
    """Whatever spelling of its version PyPI has."""
    wheels = make_pair(tmp_path, "+dispatched.1", "1.8.8rc1")
    proof = Proof.of(proof_of(wheels, "1.8.9"))
    official = {f"livekit_agents-{spelled}-py3-none-any.whl": "1" * 64}
    if source is None:
        with pytest.raises(InvalidWheel, match="which official file"):
            statements(wheels, proof, official=official, series=series)
    else:
        text = statements(wheels, proof, official=official, series=series)[wheels[0].name]
        assert Statement.parse(text).sources == {source: "1" * 64}


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://slsa.dev/provenance/v1"},
        {"subject": []},
        {"subject": [{"name": "x", "digest": {"md5": "0"}}]},
        {"predicate": {}},
        {"more": 1},
        b"",
        b"\xff",
        b"[]",
        b"{}",
    ],
    ids=str,
)
def test_another_statement(
    patched: list[Path], proof: Proof, series: Series, change: dict[str, Any] | bytes
) -> None:
    text = statements(patched, proof, official={}, series=series)[patched[0].name]
    other = json.loads(text)
    other["predicate"]["kind"] = "another"
    changed = change if isinstance(change, bytes) else json.dumps({**json.loads(text), **change})
    sources = json.loads(text)
    sources["predicate"]["sources"] = {"name": 7}
    for wrong in (changed, json.dumps(other), json.dumps(sources)):
        with pytest.raises(Malformed):
            Statement.parse(wrong if isinstance(wrong, bytes) else wrong.encode())

"""The verb prove: releases and wheels named by hand, tiers, replays, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from publishing import (
    EXPLORER,
    LOST,
    UPLOADED,
    Prove,
    explored,
    findings,
    make_runner,
    make_suite,
    proof_of,
)
from series import engine_patch, write_series
from standing_in import judged, replace_proof
from upstream_index import Upstream
from verbs import RunVerb

from toolkit.environments.pair import WheelPair, prepare
from toolkit.proof import one_release
from toolkit.proof.settings import ProofSettings
from toolkit.proof.verdict import Verdict

BY_HAND = ("--release", "1.8.9", "--uploaded", "2026-10-24T02:32:37Z")


@pytest.mark.parametrize(
    "words",
    [
        ["--official", "a.whl", "--patched", "b.whl"],
        ["1.8.9", "--uploaded", "2026-10-24T02:32:37Z"],
        ["--official", "a", "--patched", "b", "--release", "1", "--uploaded", "yesterday"],
        ["--official", "a", "--patched", "b", "--release", "1", "--uploaded", "2026-10-24"],
        ["1.8.9", "1.4.6", "--out", "verdict.json"],
        ["1.8.9", "--tier", "slow"],
    ],
)
def test_command_lines_that_mean_nothing(words: list[str], run_verb: RunVerb) -> None:
    assert run_verb("prove", *words).code == 2


# -- a release, with a stand-in for the proof -------------------------------------------------


@pytest.fixture
def proofs(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> list[WheelPair]:
    """The pairs that are proved: those of a release with a series that fits it."""
    upstream.upload("1.8.9")
    write_series(upstream.workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    pairs: list[WheelPair] = []

    def stand_in(pair: WheelPair, settings: ProofSettings, *, picture: Path, **_: Any) -> Verdict:
        pairs.append(pair)
        sides = [findings(v, unreduced=7) for v in ({LOST: 4, "refused": 5}, {"refused": 2})]
        found = explored(tier=settings.tier, official=sides[0], patched=sides[1])
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(f"<svg>{settings.tier}</svg>")
        return proof_of(list(pair.patched), "1.8.9", found)

    replace_proof(monkeypatch, stand_in)
    return pairs


def test_a_release_is_fetched_and_patched_first(
    proofs: list[WheelPair], upstream: Upstream, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "verdict.json"
    ran = upstream.run("prove", "1.8.9", "--tier", "full", "--out", out)
    assert ran.out.startswith("1.8.9: publish: the official wheels lose calls")
    assert json.loads(out.read_text())["exploration"]["tier"] == "full"
    assert out.with_suffix(".svg").read_text() == "<svg>full</svg>"
    (pair,) = proofs
    assert pair.release == "1.8.9"
    names = [wheel.name for wheel in pair.patched]
    assert "livekit_agents-1.8.9+dispatched.1-py3-none-any.whl" in names


def test_wheels_named_by_hand(
    proofs: list[WheelPair],
    upstream: Upstream,
    tmp_path: Path,
    official: list[Path],
    patched: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "verdict.json"
    words = (*BY_HAND, "--official", *official, "--patched", *patched, "--out", out)
    ran = upstream.run("prove", *words, "--series", "5e" * 32, "--json")
    (line,) = ran.out.splitlines()  # a document a line, as with several releases
    assert json.loads(line) == json.loads(out.read_text())
    sides = (tuple(official), tuple(patched))
    assert proofs == [WheelPair(*sides, "1.8.9", UPLOADED, "5e" * 32)]
    assert not upstream.workspace.outcomes.exists()
    for word, step in (
        ("regressed", "replay the schedule"),
        ("inconclusive", "remove the cause and prove again"),
        ("fixed", "`nox -s retire` ends the series"),
    ):
        replace_proof(monkeypatch, judged(word))
        ran = upstream.run("prove", *words, code=18)
        assert ran.out.startswith(f"1.8.9: {word}: a test says so")
        assert step in ran.err


@pytest.mark.usefixtures("proofs")
def test_a_quick_verdict_does_not_replace_a_full_one(upstream: Upstream, tmp_path: Path) -> None:
    out = tmp_path / "verdict.json"

    def written(*words: str) -> str:
        upstream.run("prove", "1.8.9", "--out", out, *words)
        return out.read_text()

    quick, full = written(), written("--tier", "full")
    assert full != quick
    assert written() == full
    assert out.with_suffix(".svg").read_text() == "<svg>full</svg>"
    document = json.loads(full)
    other = dict.fromkeys(document["wheels"], "0" * 64)
    sides = {"patched": {**document["patched"], "wheels": other}, "wheels": other}
    for change in ({"suite": "0" * 64}, {"series": "0" * 64}, sides):
        out.write_text(json.dumps({**document, **change}))
        assert written() == quick


@pytest.mark.usefixtures("proofs")
def test_a_verdict_is_stored(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored() -> tuple[str, bool]:
        (row,) = upstream.run("status", "--offline", "--json").json["releases"]
        return row["verdict"], row["current"]

    upstream.run("update")
    upstream.run("prove", "1.8.9", "--suite", tmp_path)
    assert stored() == ("unknown", False)
    upstream.run("prove", "1.8.9")
    assert stored() == ("publish", True)
    replace_proof(monkeypatch, None)
    upstream.run("release", "1.8.9", "--index", tmp_path / "index")
    published = {path.suffix for path in (tmp_path / "index" / "verdicts").iterdir()}
    assert published == {".json", ".svg"}
    # and so is a conflict
    text = engine_patch(line9="first = 1").replace(" value_8 =", " another =")
    write_series(upstream.workspace.patches, {"guard": {"1.0": text}})
    upstream.run("update")
    upstream.run("prove", "1.8.9", code=16)
    assert stored()[0] == "conflict"


@pytest.mark.usefixtures("proofs")
def test_a_replay_shows_both_sides(
    upstream: Upstream,
    proved: Prove,
    tmp_path: Path,
    official: list[Path],
    patched: list[Path],
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = WheelPair(tuple(official), tuple(patched), "1.8.9", UPLOADED)
    extra = (make_runner(shop / "runner"),)
    sides = prepare(pair, shop / "envs", extra=extra, optional=())
    monkeypatch.setattr(one_release, "prepare", lambda *_, **__: sides)
    suite, out = tmp_path / "suite", tmp_path / "replay.json"
    words = ("prove", "1.8.9", "--suite", suite, "--replay")
    output = upstream.run(*words, "call:A").out
    assert output.split("\n\n")[:2] == ["official wheels of 1.8.9", "the picture of call:A"]
    assert "patched wheels of 1.8.9\n\nthe picture of call:A" in output
    assert upstream.run(*words, "call:A", "--json", "--out", out).json == {
        "schedule": "call:A",
        "official": {"violations": [LOST, "refused"], "recorded": []},
        "patched": {"violations": [], "recorded": []},
    }
    drawn = {path.name: path.read_text() for path in tmp_path.glob("replay.*.svg")}
    assert drawn == {
        "replay.official.svg": "<svg>call:A 1.8.9</svg>",
        "replay.patched.svg": "<svg>call:A 1.8.9+dispatched.3</svg>",
    }
    # the patched wheels break what the official ones do not, or what nobody may break
    for old, new in (
        ('"call:B": ["refused"]} if', '"call:B": []} if'),
        ('"refused": "differential"', '"refused": "flag"'),
    ):
        assert old in EXPLORER
        make_suite(suite, explorer=EXPLORER.replace(old, new))
        ran = upstream.run(*words, "call:B", code=18)
        assert "the picture of call:B" in ran.out
        assert "call:B breaks refused on the patched wheels" in ran.err
    make_suite(suite, explorer="import sys; sys.exit('no scenario of that name')")
    assert "no scenario of that name" in upstream.run(*words, "call:?", code=18).err

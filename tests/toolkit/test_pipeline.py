"""``release.py``: how the steps are joined, and what becomes of a release that fails at one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from packaging.tags import sys_tags
from packaging.version import Version
from publishing import proof_of, snapshot
from series import diff, engine_patch, mail, write_series
from simple_index import Index
from standing_in import judged, replace_proof
from wheels import (
    AGENTS,
    ENGINE,
    ENGINE_PATH,
    PLUGIN,
    REALTIME_PATH,
    contents_of,
    make_official,
    members_of,
    source,
)

import fetch
import release as verb
import update
from toolkit.environments.pair import WheelPair
from toolkit.pipeline import flow
from toolkit.proof.settings import ProofSettings
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Catalogue
from toolkit.util.errors import EnvironmentUnresolvable
from toolkit.util.files import sha256_of
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

RELEASES = ("1.8.9", "1.8.8")


@pytest.fixture
def here(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """Two releases on an index on loopback, and a series that fits both."""
    for version in RELEASES:
        for name in (AGENTS, PLUGIN):
            index.add(make_official(tmp_path / "w", name, version))
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    replace_proof(monkeypatch, judged("publish"))
    return workspace


def grown(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
    """The same for a set of platforms, at the revision that its names tell."""
    proof = proof_of(list(pair.patched), pair.release)
    others = {path.name: sha256_of(path) for path in pair.others}
    revision = int(re.findall(r"\+dispatched\.(\d+)", pair.patched[0].name)[0])
    return replace(proof, wheels={**proof.wheels, **others}, revision=revision)


def run(here: Workspace, out: Path, *words: str) -> int:
    places = ("--index", str(out), "--patches", str(here.patches), "--refresh", f"{out}.refresh")
    return verb.main([*words, *places, "--json"])


def test_publishes_and_records(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    assert run(here, out, *RELEASES) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in rows] == ["publish", "publish"]
    assert set(map(str, Catalogue.read(here.catalogue).rows())) == set(RELEASES)
    before = snapshot(out), here.catalogue.read_bytes()
    assert run(here, out, *RELEASES) == 0
    assert [row["new"] for row in json.loads(capsys.readouterr().out)] == [[], []]
    assert (snapshot(out), here.catalogue.read_bytes()) == before


def test_the_newest_by_default(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(here, tmp_path / "index") == 0
    assert [row["release"] for row in json.loads(capsys.readouterr().out)] == ["1.8.9"]


def test_what_people_see(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    assert verb.main(["1.8.9", "--index", str(out), "--patches", str(here.patches)]) == 0
    said = capsys.readouterr().out
    assert "publish" in said
    assert "livekit_agents-1.8.9+dispatched.1-py3-none-any.whl" in said
    assert "  pip install --extra-index-url file://" in said
    assert "  uv pip install --index file://" in said


@pytest.mark.parametrize(
    ("tier", "step"),
    [
        ("quick", "`nox -s release -- 1.8.9 --tier full`; nothing was published"),
        ("full", "see `nox -s retire`; nothing needs publishing"),
    ],
)
def test_what_to_do_with_a_fixed_one(
    tier: str,
    step: str,
    here: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace_proof(monkeypatch, judged("fixed"))
    assert run(here, tmp_path / "index", "1.8.9", "--tier", tier) == 18
    assert step in capsys.readouterr().err


@pytest.mark.parametrize("word", ["fixed", "regressed", "inconclusive"])
def test_no_other_verdict_is_published(
    word: str,
    here: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace_proof(monkeypatch, judged(word))
    assert run(here, tmp_path / "index", "1.8.9") == 18
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["verdict"] == word
    assert word in said.err
    assert not (tmp_path / "index").exists()
    assert not Catalogue.read(here.catalogue).rows()


def test_a_release_that_fails_does_not_stop_the_others(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fits = engine_patch(line9="first = 1")
    fits_not = fits.replace(" value_8 =", " another =")
    assert fits_not != fits
    write_series(here.patches, {"guard": {"1.0": fits, "1.8.9": fits_not}})
    assert run(here, tmp_path / "index", "1.8.9", "1.8.8", "7.7.7") == 22
    said = capsys.readouterr()
    rows = {row["release"]: row for row in json.loads(said.out)}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "1.8.9": "conflict",
        "1.8.8": "publish",
        "7.7.7": "error",
    }
    assert (rows["1.8.9"]["exit_code"], rows["7.7.7"]["exit_code"]) == (16, 10)
    assert "1.8.9: PatchConflict" in said.err
    assert not list((tmp_path / "index" / "files").glob("*1.8.9*"))


def test_all_ranges_and_what_is_left_out(
    here: Workspace, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "broken"
    assert run(here, out, "all") == 10
    assert "no release in patches/releases.toml is in all" in capsys.readouterr().err
    assert update.main(["--patches", str(here.patches)]) == 0
    capsys.readouterr()
    assert run(here, out, "all") == 0
    rows = {row["release"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "1.8.8": "left out",
        "1.8.9": "publish",
    }
    assert rows["1.8.8"]["reason"] == "yanked: broken (--yanked takes it)"
    assert run(here, out, ">=1.8.8,<1.8.9", "--yanked") == 0
    assert run(here, out, "1.8.8") == 11
    assert run(here, out, "all", "--as-of", "2025-12-31") == 10


def test_nothing_can_be_taken(
    here: Workspace, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "broken"
    index.add(make_official(tmp_path / "w", AGENTS, "1.0.0"), datetime(2025, 1, 1, tzinfo=UTC))
    assert update.main(["--patches", str(here.patches)]) == 0
    capsys.readouterr()
    places = ("--index", str(out), "--patches", str(here.patches))
    assert verb.main(["==1.8.8", *places]) == 11
    said = capsys.readouterr()
    assert "left out" in said.out
    assert "yanked: broken (--yanked takes it)" in said.out
    assert "livekit-agents 1.8.8 was yanked: broken" in said.err
    assert run(here, out, "==1.0.0") == 10
    assert run(here, out, "<1.8.9") == 22
    said = capsys.readouterr()
    assert "none of these 2 releases can be taken" in said.err
    # another verb does not take the newest instead
    assert fetch.main(["==1.8.8", "--patches", str(here.patches)]) == 11
    assert not out.exists()


def test_the_one_that_was_taken_fails(
    here: Workspace,
    index: Index,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "broken"
    assert update.main(["--patches", str(here.patches)]) == 0
    replace_proof(monkeypatch, judged("regressed"))
    assert run(here, tmp_path / "index", "all") == 18
    assert run(here, tmp_path / "index", "all", "--yanked") == 22
    said = capsys.readouterr().err
    assert "2 of 2 releases failed" in said
    assert "others are published" not in said


def test_a_table_with_reasons(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update.main(["--patches", str(here.patches)]) == 0
    words = ("all", "7.7.7", "--index", str(tmp_path / "index"), "--patches", str(here.patches))
    assert verb.main(words) == 22
    said = capsys.readouterr()
    (line,) = (line for line in said.out.splitlines() if "7.7.7" in line)
    assert "error" in line
    assert "there is no livekit-agents 7.7.7 with wheels" in line
    assert "1 of 3 releases failed" in said.err
    assert "the others are published" in said.err


def test_what_was_done_is_not_done_again(
    here: Workspace,
    index: Index,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "index"
    assert run(here, out, *RELEASES) == 0
    first = snapshot(out)
    with monkeypatch.context() as patch:
        for name in ("fetch", "repack_release", "prove"):
            patch.setattr(flow, name, lambda *_, **__: pytest.fail("done again"))
        index.asked.clear()
        assert run(here, out, *RELEASES) == 0
        assert index.asked == []
    # each of these is made again, and nothing is proved again
    replace_proof(monkeypatch, lambda *_, **__: pytest.fail("proved again"))
    wheel = out / "files" / "livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"
    wheel.unlink()
    assert run(here, out, *RELEASES) == 22
    page = out / "simple" / "index.html"
    page.write_text("damaged")
    shutil.rmtree(here.repacked)
    wheel.write_bytes(bytes.fromhex(first[f"files/{wheel.name}"][1]))
    assert run(here, out, *RELEASES) == 0
    capsys.readouterr()
    assert {p: text for p, (_, text) in snapshot(out).items()} == {
        p: text for p, (_, text) in first.items()
    }
    # another series is
    write_series(here.patches, {"guard": {"1.0": engine_patch(line9="first = 2")}})
    replace_proof(monkeypatch, judged("regressed"))
    assert run(here, out, "1.8.9") == 18


def test_a_verdict_against_it_is_remembered(
    here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_proof(monkeypatch, judged("regressed"))
    assert run(here, tmp_path / "index", "1.8.9") == 18
    replace_proof(monkeypatch, lambda *_, **__: pytest.fail("proved again"))
    assert run(here, tmp_path / "index", "1.8.9") == 18
    replace_proof(monkeypatch, judged("inconclusive"))
    assert run(here, tmp_path / "index", "1.8.8") == 18
    replace_proof(monkeypatch, judged("publish"))
    assert run(here, tmp_path / "index", "1.8.8") == 0


def test_a_platform_set_is_published_whole_or_not_at_all(
    here: Workspace,
    index: Index,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here_tag = next(tag for tag in sys_tags() if tag.abi == "abi3")
    tags = [str(here_tag), "cp310-abi3-win_amd64", "cp310-abi3-plan9_mips"]
    dos = {n: text.replace(b"\n", b"\r\n") for n, text in members_of(AGENTS, "2.0.0b1").items()}
    for tag in tags:
        members = dos if "win" in tag else None
        index.add(make_official(tmp_path / "w", AGENTS, "2.0.0b1", tag=tag, members=members))
    index.add(make_official(tmp_path / "w", PLUGIN, "2.0.0b1"))
    seen: list[list[str]] = []

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        seen.append([path.name for path in (*pair.official, *pair.patched)])
        proof = proof_of(list(pair.patched), pair.release)
        others = {path.name: sha256_of(path) for path in pair.others}
        return replace(proof, wheels={**proof.wheels, **others})

    replace_proof(monkeypatch, prove)
    out = tmp_path / "index"
    assert run(here, out, "2.0.0b1") == 0
    (row,) = json.loads(capsys.readouterr().out)
    ours = {f"livekit_agents-2.0.0b1+dispatched.1-{tag}.whl" for tag in tags}
    assert ours < set(row["wheels"])
    assert ours <= {path.name for path in (out / "files").iterdir()}
    (tested,) = seen
    assert [name for name in tested if "plan9" in name or "win" in name] == []
    assert f"livekit_agents-2.0.0b1+dispatched.1-{here_tag}.whl" in tested
    win = next(path for path in (out / "files").glob("*win_amd64.whl"))
    assert contents_of(win)[ENGINE] == source(line9="first = 1").replace("\n", "\r\n").encode()

    # one of the set is missing from the verdict: none is published
    replace_proof(monkeypatch, judged("publish"))
    write_series(here.patches, {"guard": {"1.0": engine_patch(line9="first = 2")}})
    assert run(here, tmp_path / "other", "2.0.0b1") == 18
    assert not list((tmp_path / "other").glob("files/*"))


@pytest.mark.parametrize("words", [(), ("new",)])
def test_an_upload_that_takes_its_time(
    words: tuple[str, ...],
    here: Workspace,
    index: Index,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first wheel of a set was seen before the others, and before the plugin."""

    replace_proof(monkeypatch, grown)
    out, later = tmp_path / "index", datetime(2026, 2, 2, tzinfo=UTC)
    here_tag = next(tag for tag in sys_tags() if tag.abi == "abi3")
    index.add(make_official(tmp_path / "w", AGENTS, "2.0.0", tag=str(here_tag)), later)
    assert run(here, out) == 0
    assert Catalogue.read(here.catalogue)[Version("2.0.0")].partner == "1.8.9"
    for tag in ("cp310-abi3-win_amd64", "cp310-abi3-macosx_11_0_arm64"):
        index.add(make_official(tmp_path / "w", AGENTS, "2.0.0", tag=tag), later)
    index.add(make_official(tmp_path / "w", PLUGIN, "2.0.0"), later)
    capsys.readouterr()
    assert run(here, out, *words) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["release"], row["revision"]) == ("2.0.0", 2)
    names = {path.name for path in (out / "files").glob("*2.0.0+dispatched.2-*.whl")}
    assert len(names) == 3
    assert names < set(row["wheels"])
    assert "livekit_plugins_openai-2.0.0-py3-none-any.whl" in row["wheels"]
    before = snapshot(out), here.catalogue.read_bytes()
    assert run(here, out, *words) == 0
    assert (snapshot(out), here.catalogue.read_bytes()) == before


def test_a_plugin_that_two_releases_share(
    here: Workspace, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add(make_official(tmp_path / "w", AGENTS, "1.8.10"), datetime(2026, 2, 2, tzinfo=UTC))
    both = mail(
        diff(ENGINE_PATH, source(), source(line9="first = 1")),
        diff(REALTIME_PATH, source(), source(line9="first = 1")),
    )
    write_series(here.patches, {"guard": {"1.0": both}})
    assert run(here, tmp_path / "index", "1.8.9", "1.8.10") == 0
    rows = {row["release"]: row for row in json.loads(capsys.readouterr().out)}
    plugins = {
        release: next(name for name in row["wheels"] if "plugins" in name)
        for release, row in rows.items()
    }
    assert plugins == {
        "1.8.9": "livekit_plugins_openai-1.8.9+dispatched.1-py3-none-any.whl",
        "1.8.10": "livekit_plugins_openai-1.8.9+dispatched.1.with.1.8.10-py3-none-any.whl",
    }
    assert rows["1.8.10"]["uv"].endswith(" livekit-dispatched==1.8.10.1")
    (beside,) = (tmp_path / "index" / "files").glob("livekit_dispatched-1.8.10.1-*.metadata")
    assert f"Requires-Dist: {PLUGIN}==1.8.9+dispatched.1.with.1.8.10\n" in beside.read_text()
    verdicts = {path.name for path in (tmp_path / "index" / "verdicts").glob("*.json")}
    assert verdicts == {f"{release}+dispatched.1.json" for release in rows}


def test_an_environment_that_cannot_be_resolved(
    here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prove(*_: Any, **__: Any) -> Verdict:
        raise EnvironmentUnresolvable("no such openai", next_step="look")

    replace_proof(monkeypatch, prove)
    assert run(here, tmp_path / "index", "1.8.9") == 17
    assert not (tmp_path / "index").exists()


def test_a_real_ctrl_c_during_the_download(here: Workspace, index: Index, tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()
    answer = index.answer

    def slowly(path: str) -> tuple[int, str, bytes, bool]:
        if path.endswith(".whl"):
            asked.set()
            go_on.wait(30)
        return answer(path)

    index.answer = slowly  # type: ignore[method-assign]
    out = tmp_path / "index"
    child = subprocess.Popen(
        [sys.executable, verb.__file__, "1.8.9", "--index", out, "--patches", here.patches],
        env=dict(os.environ),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert asked.wait(30)
        child.send_signal(signal.SIGINT)
        go_on.set()
        _, said = child.communicate(timeout=30)
    finally:
        go_on.set()
        child.kill()
    assert child.returncode == 130, said
    assert "Traceback" not in said
    assert not out.exists()
    assert not list(here.artefacts.rglob("*.tmp"))

"""Yanks: which files they mean, and in which order clients see them."""

from __future__ import annotations

from pathlib import Path

import pytest
from indexes import look, make_index, pair_bundle, require_whole
from publishing import snapshot
from wheels import AGENTS, PLUGIN

from toolkit.index.ledger import Ledger
from toolkit.index.metapackage import PROJECT
from toolkit.index.yank import YankResult, unyank, yank
from toolkit.util.errors import IndexConflict, UnknownRelease


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Two revisions of a release, and the next release."""
    pairs = [("1.0.0", 1), ("1.0.0", 2), ("1.0.1", 1)]
    bundles = [pair_bundle(tmp_path / "wheels", r, revision=n) for r, n in pairs]
    return make_index(tmp_path / "index", *bundles)


def names(release: str, revision: int) -> tuple[str, ...]:
    version = f"{release}+dispatched.{revision}"
    wheels = [f"livekit_agents-{version}", f"livekit_plugins_openai-{version}"]
    return tuple(
        f"{name}-py3-none-any.whl"
        for name in sorted([*wheels, f"livekit_dispatched-{release}.{revision}"])
    )


def test_a_revision_or_all_of_them(index: Path) -> None:
    one, other = names("1.0.0", 1), names("1.0.0", 2)
    result = yank(index, "1.0.0+dispatched.1", "a reason")
    assert result == YankResult(one, ("1.0.0+dispatched.2",))
    assert yank(index, "1.0.0", "another") == YankResult(other, ())
    assert Ledger.read(index).yanked == dict.fromkeys(one, "a reason") | dict.fromkeys(
        other, "another"
    )
    left = ("1.0.0+dispatched.1", "1.0.0+dispatched.2")
    assert unyank(index, "1.0.0") == YankResult(tuple(sorted(one + other)), left)
    assert unyank(index, "1.0.0") == YankResult((), left)
    assert Ledger.read(index).yanked == {}
    assert require_whole(index) == 9


@pytest.mark.parametrize("release", ["1.8.8", "1.0.0+dispatched.3", "1.1", "new", ""])
def test_a_release_that_is_not_there(index: Path, release: str) -> None:
    before = snapshot(index)
    with pytest.raises(UnknownRelease):
        yank(index, release, "a reason")
    assert snapshot(index) == before


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "\x1b[2J"])
def test_a_reason_that_nobody_could_read(index: Path, reason: str) -> None:
    with pytest.raises(IndexConflict, match="no reason"):
        yank(index, "1.0.0", reason)


def test_no_index_is_made_by_a_yank(tmp_path: Path) -> None:
    with pytest.raises(IndexConflict, match="not an index"):
        yank(tmp_path / "none", "1.8.9", "why")
    assert not (tmp_path / "none").exists()


def test_pages_appear_in_an_order_that_clients_can_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    written: list[str] = []
    real = Path.replace

    def replace(draft: Path, path: Path) -> Path:
        written.append(path.relative_to(index).as_posix())
        return real(draft, path)

    def order() -> list[str]:
        result = [p.split("/")[-2] for p in written if p.endswith("html")]
        ledger = written.index("index.jsonl", 1) if "index.jsonl" in written[1:] else 0
        assert ledger < written.index(next(p for p in written if p.endswith("html")))
        written.clear()
        return result

    monkeypatch.setattr(Path, "replace", replace)
    bundle = pair_bundle(tmp_path, "1.0.0")
    make_index(index, bundle)
    pages = [PLUGIN, AGENTS, PROJECT]
    assert order() == [*pages, "simple"]
    yank(index, "1.0.0", "a reason")
    assert order() == pages[::-1]
    unyank(index, "1.0.0")
    assert order() == pages
    assert look(index, yanked=False) == 1

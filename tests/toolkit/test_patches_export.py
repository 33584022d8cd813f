"""A patched tree back to patch files, and the series without what upstream has or must not get."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version
from series import diff, engine_patch, mail, write_series
from wheels import ENGINE_PATH, REALTIME_PATH, source

from toolkit.patches.export import export, exported_mails, new_files
from toolkit.patches.git_repo import Repository
from toolkit.patches.notices import apply_without_notices, taken_patches, without_notices
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.patches.tree import make_tree
from toolkit.util.errors import CommandFailed, InvalidSeries, PatchConflict

VERSION = Version("1.8.9")
OFFICIAL = {ENGINE_PATH: source().encode()}
NOTICE = "# Modified by livekit-dispatched"


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    """An older patch, and one that begins with the release."""
    one, two = engine_patch(line9="first = 1"), engine_patch(line30="second = 2")
    return write_series(tmp_path / "patches", {"one": {"1.0": one}, "two": {"1.8.9": two}})


@pytest.fixture
def tree(patches: Path, tmp_path: Path) -> Path:
    variants = Series.load(patches).variants_for(VERSION)
    return make_tree(variants, OFFICIAL, tmp_path / "tree").path


def amend(tree: Path, **lines: str) -> None:
    (tree / ENGINE_PATH).write_text(source(line9="first = 1", **lines), "utf-8")
    Repository(tree).amend()


def test_what_git_would_write_otherwise_is_new_where_it_begins(patches: Path, tree: Path) -> None:
    series = Series.load(patches)
    one, two = export(tree, series, VERSION)
    # the mails of these tests are not what git writes
    assert (one.fresh, two.fresh) == (False, True)
    assert one.mail
    assert two.mail
    assert new_files(patches, VERSION, [one, two]) == {"two/1.8.9.patch": two.mail}
    assert [mail for _, mail in exported_mails(tree, series.variants_for(VERSION))] == [
        one.mail,
        two.mail,
    ]
    (patches / "two/1.8.9.patch").write_bytes(two.mail)
    exported = export(tree, Series.load(patches), VERSION)
    assert [patch.fresh for patch in exported] == [False, False]
    assert new_files(patches, VERSION, exported) == {}
    amend(tree, line30="second = 3")
    assert [patch.fresh for patch in export(tree, Series.load(patches), VERSION)] == [False, True]


def test_a_patch_that_upstream_has_ends(patches: Path, tree: Path) -> None:
    amend(tree)
    one, two = export(tree, Series.load(patches), VERSION)
    assert (two.mail, two.fresh) == (None, True)
    for ends, releases in ((True, "<1.8.9"), (False, "!=1.8.9")):
        (text,) = new_files(patches, VERSION, [one, two], ends=ends).values()
        assert text.decode().count(f'releases = ">=1.0,{releases}"') == 1
    (patches / "series.toml").write_text("", "utf-8")
    with pytest.raises(CommandFailed, match="has no `releases` for two"):
        new_files(patches, VERSION, [one, two])


def test_one_commit_a_patch(patches: Path, tree: Path) -> None:
    Repository(tree).commit_all("And one more")
    with pytest.raises(InvalidSeries, match="has 3 commits on the official files, for 2 patches"):
        export(tree, Series.load(patches), VERSION)


def variants_of(folder: Path, *texts: dict[str, str]) -> tuple[Variant, ...]:
    """Patches of the engine, each on top of the one before."""
    lines: dict[str, str] = {}
    patches = {}
    for number, text in enumerate(texts):
        before, lines = source(**lines), {**lines, **text}
        patches[f"p{number}"] = {"1.0": mail(diff(ENGINE_PATH, before, source(**lines)))}
    return Series.load(write_series(folder, patches)).variants_for(VERSION)


def test_notices_are_left_out(tmp_path: Path) -> None:
    first = {"line1": f"{NOTICE}\nvalue_1 = 1", "line9": "first = 1"}
    variants = variants_of(tmp_path, first, {"line9": "first = 2"})
    assert len(without_notices(variants[0])[0].diff) == 1
    patched = [
        (v.patch, files[ENGINE_PATH]) for v, files in apply_without_notices(variants, OFFICIAL)
    ]
    lines = ("first = 1", "first = 2")
    assert patched == [(f"p{n}", source(line9=lines[n]).encode()) for n in range(2)]
    with pytest.raises(PatchConflict, match=f"p1, .*does not fit {ENGINE_PATH}"):
        list(apply_without_notices(variants[1:], OFFICIAL))
    (only,) = variants_of(tmp_path / "only", {"line1": f"{NOTICE}\nvalue_1 = 1"})
    with pytest.raises(InvalidSeries, match="does nothing but leave notices"):
        without_notices(only)


@pytest.mark.parametrize(
    ("upstream", "taken"),
    [
        ({}, set()),
        ({"line9": "first = 1"}, {"p0"}),
        ({"line9": "first = 2"}, {"p0", "p1"}),
        ({"line9": "first = 3"}, set()),
    ],
)
def test_what_upstream_took(tmp_path: Path, upstream: dict[str, str], taken: set[str]) -> None:
    first = {"line1": f"{NOTICE}\nvalue_1 = 1", "line9": "first = 1"}
    variants = variants_of(tmp_path / "engine", first, {"line9": "first = 2"})
    other = mail(diff(REALTIME_PATH, source(), source(line9="first = 1")))
    series = Series.load(write_series(tmp_path / "other", {"other": {"1.0": other}}))
    variants += series.variants_for(VERSION)
    files = {ENGINE_PATH: source(**upstream).encode(), REALTIME_PATH: source().encode()}
    assert taken_patches(variants, files) == taken
    files[REALTIME_PATH] = source(line9="first = 1").encode()
    assert taken_patches(variants, files) == {*taken, "other"}

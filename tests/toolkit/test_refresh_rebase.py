"""A series follows upstream's text into the next release."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from rebase_world import RebaseWorld
from series import diff, engine_patch, mail
from upstream_index import JANUARY
from wheels import (
    AGENTS,
    ENGINE,
    ENGINE_PATH,
    REALTIME_PATH,
    TREES,
    make_official,
    members_of,
    source,
)

from toolkit.patches import export
from toolkit.patches.git_repo import CommitMessage
from toolkit.patches.series import Series
from toolkit.refresh.auto_resolve import resolve
from toolkit.util.errors import NotWritable

NOTICE = "# Modified by us: it is so.\n"
BETA_PATH = f"{REALTIME_PATH.removesuffix('.py')}_beta.py"
SECOND = mail(
    diff(ENGINE_PATH, source(line10="first = 1"), source(line10="first = 1", line30="x = 1"))
)


def modules(*numbers: int) -> str:
    """Functions of which each looks like no other."""
    lines = []
    for number in numbers:
        lines.append(f"def function_{number}(argument_{number}):")
        lines += [f"    step_{number}_{n} = argument_{number} + {n * number}" for n in range(8)]
        lines += [f"    return step_{number}_0", ""]
    return "".join(f"{line}\n" for line in lines)


def guarded(text: str, *numbers: int) -> str:
    """``text`` with a guard in some of its functions, and the notice."""
    for number in numbers:
        old = f"    step_{number}_4 ="
        text = text.replace(old, f"    guard_{number} = True\n{old}")
    return NOTICE + text


WHOLE = modules(*range(20))
RENAMED, CHANGED, OTHER = (
    WHOLE.replace(f"step_{step} ", "other ") for step in ("3_1", "4_3", "15_3")
)
BIG, SMALL = modules(*range(15)), modules(*range(15, 20))


BOTH = {"realtime": WHOLE, "realtime_beta": WHOLE}


def guard(*numbers: int, on: str = WHOLE) -> str:
    return mail(diff(REALTIME_PATH, on, guarded(on.removeprefix(NOTICE), *numbers)))


@pytest.mark.parametrize(
    ("before", "plugin", "moved", "patches", "result"),
    [
        pytest.param(
            {"realtime": WHOLE},
            {"realtime": f"from livekit.agents.moved.engine import *  # {NOTICE}"},
            {"engine": RENAMED},
            [guard(4, 15)],
            {"engine": guarded(RENAMED, 4, 15)},
            id="moved, and a shim left",
        ),
        # each hunk goes where its text is, and each file that it touches gets the notice
        pytest.param(
            {"realtime": WHOLE},
            {"realtime": "from livekit.agents.moved.big import *\n"},
            {"big": BIG, "small": SMALL},
            [guard(4, 17)],
            {"big": guarded(BIG, 4), "small": guarded(SMALL, 17)},
            id="split",
        ),
        # the fault was copied with it
        pytest.param(
            {"realtime": WHOLE},
            {"realtime": CHANGED, "realtime_beta": RENAMED},
            {},
            [guard(4)],
            {REALTIME_PATH: guarded(CHANGED, 4), BETA_PATH: guarded(RENAMED, 4)},
            id="copied",
        ),
        # the older variants would apply to one of the two
        pytest.param(
            {"realtime": WHOLE},
            {"realtime": OTHER, "realtime_beta": WHOLE},
            {},
            [guard(4), guard(15, on=guarded(WHOLE, 4))],
            {REALTIME_PATH: guarded(OTHER, 4, 15), BETA_PATH: guarded(WHOLE, 4, 15)},
            id="copied as it was",
        ),
        pytest.param(
            BOTH,
            {"realtime": WHOLE + modules(21)},
            {},
            [guard(4) + diff(BETA_PATH, WHOLE, guarded(WHOLE, 4).replace("guard_4", "beta_4"))],
            {REALTIME_PATH: guarded(WHOLE, 4) + modules(21)},
            id="one of two twins deleted",
        ),
    ],
)
def test_text_that_moved_is_followed(
    world: RebaseWorld,
    before: Mapping[str, str],
    plugin: Mapping[str, str],
    moved: Mapping[str, str],
    patches: Sequence[str],
    result: Mapping[str, str],
) -> None:
    """Modules of the plugin may move to a folder ``moved`` of livekit-agents."""
    world.release("1.8.8", plugin=before)
    agents = {f"livekit/agents/moved/{name}.py": text for name, text in moved.items()}
    world.release("1.8.9", plugin=plugin, agents=agents)
    world.series(**{f"patch{number}": text for number, text in enumerate(patches)})
    world.refresh("1.8.9")
    assert world.texts("1.8.9") == {
        f"{TREES[AGENTS]}/livekit/agents/moved/{name}.py" if name in moved else name: text
        for name, text in result.items()
    }


def test_what_changed_beside_a_hunk_is_merged(world: RebaseWorld) -> None:
    world.release("1.8.8")
    world.release("1.8.9", line8="another = 8")
    world.series(first=engine_patch(line10="first = 1"), second=SECOND)
    before = world.files()
    assert world.refresh("1.8.9", "--json").json == {
        "release": "1.8.9",
        "base": "1.8.8",
        "written": ["first/1.8.9.patch"],
        "taken": [],
        "verdict": "publish",
    }
    # the patch that still applied is left alone
    assert world.changed(before) == {"first/1.8.9.patch"}
    assert world.texts("1.8.9") == {
        ENGINE_PATH: source(line8="another = 8", line10="first = 1", line30="x = 1")
    }
    old, new = ((world.patches / f"first/{v}.patch").read_bytes() for v in ("1.0", "1.8.9"))
    assert CommitMessage.of(new) == CommitMessage.of(old)
    assert not world.conflict.exists()
    assert "the series fits 1.8.9" in world.refresh("1.8.9").out


def test_a_broken_release_is_no_base(world: RebaseWorld) -> None:
    for version in ("1.8.7", "1.8.8"):
        world.release(version)
    members = members_of(AGENTS, "1.8.8") | {ENGINE: source(line10="odd = 1").encode()}
    tag = "cp310-abi3-linux_x86_64"
    other = make_official(world.folder / "other", AGENTS, "1.8.8", members=members, tag=tag)
    world.index.add(other, JANUARY)
    world.release("1.8.9", line8="another = 8")
    world.series(first=engine_patch(line10="first = 1"))
    assert world.refresh("1.8.9", "--json").json["base"] == "1.8.7"
    assert "differs between the platforms" in world.refresh("1.8.8", code=14).err


def test_a_patch_that_no_older_release_needed(world: RebaseWorld) -> None:
    """There is nothing to merge it from, and it must not be lost in silence."""
    world.release("1.8.7")
    for version in ("1.8.8", "1.8.9"):
        world.release(version, line8="another = 8", line30="other = 30")
    misfit = mail(
        diff(ENGINE_PATH, source(line30="odd = 1"), source(line30="odd = 1", line31="x = 1"))
    )
    world.series(guard=engine_patch(line10="first = 1"), later=misfit)
    toml = world.patches / "series.toml"
    head, _, tail = toml.read_text().rpartition('releases = ">=1.0"')
    toml.write_text(f'{head}releases = ">=1.8.8"{tail}')
    (world.patches / "later/1.0.patch").rename(world.patches / "later/1.8.8.patch")
    assert "later, variant 1.8.8.patch: it does not apply" in world.refresh("1.8.9", code=16).err


def test_a_release_s_own_variant_is_not_replaced(world: RebaseWorld) -> None:
    """Whoever wrote it must look at it."""
    world.release("1.8.8")
    world.release("1.8.9", line8="another = 8")
    world.series(guard=engine_patch(line10="first = 1"))
    shutil.copy(world.patches / "guard/1.0.patch", world.patches / "guard/1.8.9.patch")
    assert "guard, variant 1.8.9.patch" in world.refresh("1.8.9", code=16).err


def test_a_patch_that_upstream_took_ends(world: RebaseWorld) -> None:
    world.release("1.8.8")
    world.release("1.8.9", line10="first = 1")
    world.series(guard=engine_patch(line10="first = 1"), second=SECOND)
    world.refresh("1.8.9")
    patches = Series.load(world.patches).patches
    assert [str(patch.releases) for patch in patches] == ["<1.8.9,>=1.0", ">=1.0"]
    assert world.texts("1.8.9") == {ENGINE_PATH: source(line10="first = 1", line30="x = 1")}
    assert world.variants == {"guard/1.0.patch", "second/1.0.patch"}


def test_from_a_later_release_if_there_is_no_older_one(world: RebaseWorld) -> None:
    world.release("1.8.8", datetime(2025, 1, 2, tzinfo=UTC), line8="another = 8")
    world.release("1.8.9")
    world.series(guard=engine_patch(line10="first = 1"))
    assert (
        "there is no other release that the series fits"
        in world.refresh("1.8.8", "--as-of", "2025-02-02", code=16).err
    )
    world.refresh("1.8.8")
    assert world.texts("1.8.8") == {ENGINE_PATH: source(line8="another = 8", line10="first = 1")}


def test_a_later_variant_that_fits_gets_the_release_s_name(world: RebaseWorld) -> None:
    for version in ("1.8.8", "1.8.9"):
        world.release(version, line8="another = 8")
    world.series(guard=engine_patch(line10="first = 1"))
    result = source(line8="another = 8", line10="first = 1")
    later = mail(diff(ENGINE_PATH, source(line8="another = 8"), result))
    (world.patches / "guard/1.8.9.patch").write_text(later)
    assert world.refresh("1.8.8", "--json").json["written"] == ["guard/1.8.8.patch"]
    assert world.texts("1.8.8") == world.texts("1.8.9") == {ENGINE_PATH: result}


def test_later_releases_keep_the_variants_that_they_had(world: RebaseWorld) -> None:
    """An older line of releases goes on."""
    world.release("1.8.8")
    world.release("1.8.8.1", line8="another = 8", line39="taken = 1")
    world.release("1.8.9", line1="new = 1\nvalue_1 = 1")
    world.series(guard=engine_patch(line10="first = 1"), taken=engine_patch(line39="taken = 1"))
    before = world.texts("1.8.9")
    world.refresh("1.8.8.1")
    taken = source(line8="another = 8", line10="first = 1", line39="taken = 1")
    assert world.texts("1.8.8.1") == {ENGINE_PATH: taken}
    assert world.texts("1.8.9") == before
    guards = {f"guard/{since}.patch" for since in ("1.0", "1.8.8.1", "1.8.9")}
    assert world.variants == guards | {"taken/1.0.patch"}
    assert str(Series.load(world.patches).patches[1].releases) == "!=1.8.8.1,>=1.0"


def test_a_series_that_cannot_be_written_stays_whole(
    world: RebaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.release("1.8.8")
    world.series(one=engine_patch(line10="first = 1"), two=engine_patch(line30="x = 1"))
    before = world.files()

    results = iter([None, None, OSError(28, "No space left on device")])

    def fail_at_the_third(_: int) -> None:
        if error := next(results):
            raise error

    monkeypatch.setattr(os, "fsync", fail_at_the_third)
    new = {f"{patch}/{since}.patch": b"mail" for patch in ("one", "two") for since in ("1.0", "2")}
    with pytest.raises(NotWritable, match="No space"):
        export.write_files(world.patches, new)
    assert world.changed(before) == set()


def conflict(upstream: str, base: str, patch: str) -> bytes:
    text = f"<<<<<<< HEAD\n{upstream}||||||| parent\n{base}=======\n{patch}>>>>>>> patch\n"
    return f"before\n{text}after\n".encode()


@pytest.mark.parametrize(
    ("upstream", "base", "patch", "result"),
    [
        ("b\nC\n", "b\nc\n", "B\nc\n", "B\nC\n"),  # each changed a line of its own
        ("c\n", "", "n\n", "n\nc\n"),  # both inserted something
        ("  b\n  c\n", "b\nc\n", "n\nb\nc\n", "n\n  b\n  c\n"),  # before what upstream indented
        ("  b\n", "b\n", "b\nn\n", "  b\nn\n"),
        ("", "b\nc\n", "b\nn\nc\n", "n\n"),  # between what upstream removed
        ("x\n", "b\nc\n", "b\nn\nc\n", None),
        ("B\n", "b\n", "y\n", None),
        ("", "b\n", "y\n", None),
    ],
)
def test_conflicts_with_one_sensible_result(
    upstream: str, base: str, patch: str, result: str | None
) -> None:
    expected = None if result is None else f"before\n{result}after\n".encode()
    assert resolve(conflict(upstream, base, patch)) == expected
    assert resolve(conflict(upstream, base, patch) + conflict("B\n", "b\n", "y\n")) is None

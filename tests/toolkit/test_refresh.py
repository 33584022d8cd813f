"""``refresh.py``: a series follows upstream's text, proved."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from making import (
    AGENTS,
    ENGINE_PATH,
    REALTIME_PATH,
    TREES,
    Index,
    diff,
    engine_patch,
    mail,
    source,
)
from packaging.version import Version
from publishing import snapshot
from refreshing_world import House, opened

from toolkit.patches import export as module
from toolkit.patches.export import ExportedPatch
from toolkit.patches.git_repo import CommitMessage
from toolkit.patches.series import Series
from toolkit.refresh.auto_resolve import resolve
from toolkit.util import files
from toolkit.util.errors import NotWritable
from toolkit.util.workspace import Workspace

NOTICE = "# Modified by us: it is so.\n"
FOLDER = "livekit/agents/moved"


@pytest.fixture
def house(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> House:
    return opened(index, workspace, tmp_path, monkeypatch)


def function(number: int, size: int = 8) -> list[str]:
    """A function that looks like no other."""
    lines = [f"def function_{number}(argument_{number}):"]
    lines += [
        f"    step_{number}_{line} = argument_{number} + {line * number}" for line in range(size)
    ]
    return [f"{line}\n" for line in [*lines, f"    return step_{number}_0", ""]]


def modules(*numbers: int) -> str:
    return "".join(line for number in numbers for line in function(number))


def guarded(text: str, *numbers: int) -> str:
    """``text`` with a guard in some of its functions, and the notice."""
    for number in numbers:
        old = f"    step_{number}_4 ="
        text = text.replace(old, f"    guard_{number} = True\n{old}")
    return NOTICE + text


def test_what_changed_beside_a_hunk_is_merged(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.release("1.8.8")
    house.release("1.8.9", line8="another = 8")
    second = mail(
        diff(ENGINE_PATH, source(line10="first = 1"), source(line10="first = 1", line30="x = 1"))
    )
    house.series(first=engine_patch(line10="first = 1"), second=second)
    before = house.variants
    assert house.refresh("1.8.9", "--json") == 0
    said = json.loads(capsys.readouterr().out.partition("changed\n")[2])
    assert said == {
        "release": "1.8.9",
        "base": "1.8.8",
        "written": ["first/1.8.9.patch"],
        "taken": [],
        "verdict": "publish",
    }
    # the idea that still applied is left alone
    assert house.variants == before | {"first/1.8.9.patch"}
    assert house.texts("1.8.9") == {
        ENGINE_PATH: source(line8="another = 8", line10="first = 1", line30="x = 1")
    }
    old, new = (
        (house.workspace.patches / f"first/{since}.patch").read_bytes()
        for since in ("1.0", "1.8.9")
    )
    assert CommitMessage.of(new) == CommitMessage.of(old)
    assert not house.tree.exists()
    assert house.refresh("1.8.9") == 0
    assert "the series fits 1.8.9" in capsys.readouterr().out


def test_an_engine_that_moved_and_left_a_shim(house: House) -> None:
    whole = modules(*range(20))
    house.plugin("1.8.8", realtime=whole)
    moved = whole.replace("step_3_1 ", "renamed ")
    shim = f"from livekit.agents.moved.engine import *  # {NOTICE}"
    house.plugin("1.8.9", realtime=shim, agents={f"{FOLDER}/engine.py": moved})
    house.series(guard=mail(diff(REALTIME_PATH, whole, guarded(whole, 4, 15))))
    assert house.refresh("1.8.9") == 0
    assert house.texts("1.8.9") == {f"{TREES[AGENTS]}/{FOLDER}/engine.py": guarded(moved, 4, 15)}


def test_a_file_that_was_split(house: House) -> None:
    """Each hunk goes where its text is, and each file that it touches gets the notice."""
    whole = modules(*range(20))
    house.plugin("1.8.8", realtime=whole)
    big, small = modules(*range(15)), modules(*range(15, 20))
    files = {f"{FOLDER}/big.py": big, f"{FOLDER}/small.py": small}
    house.plugin("1.8.9", realtime="from livekit.agents.moved.big import *\n", agents=files)
    house.series(guard=mail(diff(REALTIME_PATH, whole, guarded(whole, 4, 17))))
    assert house.refresh("1.8.9") == 0
    folder = f"{TREES[AGENTS]}/{FOLDER}"
    assert house.texts("1.8.9") == {
        f"{folder}/big.py": guarded(big, 4),
        f"{folder}/small.py": guarded(small, 17),
    }


def test_a_file_that_was_copied(house: House) -> None:
    """The fault was copied with it, and so must be the cure."""
    whole = modules(*range(20))
    house.plugin("1.8.8", realtime=whole)
    copy = whole.replace("step_3_1 ", "renamed ")
    own = whole.replace("step_4_3 ", "other ")
    house.plugin("1.8.9", realtime=own, realtime_beta=copy)
    house.series(guard=mail(diff(REALTIME_PATH, whole, guarded(whole, 4))))
    assert house.refresh("1.8.9") == 0
    beta = f"{REALTIME_PATH.removesuffix('.py')}_beta.py"
    assert house.texts("1.8.9") == {REALTIME_PATH: guarded(own, 4), beta: guarded(copy, 4)}


def test_a_copy_of_a_file_that_did_not_change(house: House) -> None:
    """The older variant would apply, to one of the two."""
    whole = modules(*range(20))
    other = whole.replace("step_15_3 ", "other ")
    house.plugin("1.8.8", realtime=whole)
    house.plugin("1.8.9", realtime=other, realtime_beta=whole)
    first, second = guarded(whole, 4), guarded(whole, 4, 15)
    house.series(
        first=mail(diff(REALTIME_PATH, whole, first)),
        second=mail(diff(REALTIME_PATH, first, second)),
    )
    assert house.refresh("1.8.9") == 0
    beta = f"{REALTIME_PATH.removesuffix('.py')}_beta.py"
    assert house.texts("1.8.9") == {REALTIME_PATH: guarded(other, 4, 15), beta: second}


def test_a_twin_that_upstream_deleted(house: House) -> None:
    whole = modules(*range(20))
    beta = f"{REALTIME_PATH.removesuffix('.py')}_beta.py"
    house.plugin("1.8.8", realtime=whole, realtime_beta=whole)
    house.plugin("1.8.9", realtime=whole + modules(21))
    other = guarded(whole, 4).replace("guard_4", "beta_4")
    house.series(
        guard=mail(diff(REALTIME_PATH, whole, guarded(whole, 4)), diff(beta, whole, other))
    )
    assert house.refresh("1.8.9") == 0
    assert house.texts("1.8.9") == {REALTIME_PATH: guarded(whole, 4) + modules(21)}


def test_an_idea_that_no_older_release_needed(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to merge it from, and it must not be lost in silence."""
    house.release("1.8.7")
    for version in ("1.8.8", "1.8.9"):
        house.release(version, line8="another = 8", line30="other = 30")
    odd = mail(
        diff(ENGINE_PATH, source(line30="odd = 1"), source(line30="odd = 1", line31="x = 1"))
    )
    house.series(guard=engine_patch(line10="first = 1"), later=odd)
    toml = house.workspace.patches / "series.toml"
    head, _, tail = toml.read_text().rpartition('releases = ">=1.0"')
    toml.write_text(f'{head}releases = ">=1.8.8"{tail}')
    later = house.workspace.patches / "later"
    (later / "1.0.patch").rename(later / "1.8.8.patch")
    assert house.refresh("1.8.9") == 16
    assert "later, variant 1.8.8.patch: it does not apply" in capsys.readouterr().err


def test_a_variant_of_its_own_that_does_not_apply(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not replaced: whoever wrote it must look."""
    house.release("1.8.8")
    house.release("1.8.9", line8="another = 8")
    house.series(guard=engine_patch(line10="first = 1"))
    shutil.copy(
        house.workspace.patches / "guard" / "1.0.patch",
        house.workspace.patches / "guard" / "1.8.9.patch",
    )
    assert house.refresh("1.8.9") == 16
    assert "guard, variant 1.8.9.patch" in capsys.readouterr().err


def test_what_upstream_took_ends(house: House) -> None:
    house.release("1.8.8")
    house.release("1.8.9", line10="first = 1")
    second = mail(
        diff(ENGINE_PATH, source(line10="first = 1"), source(line10="first = 1", line30="x = 1"))
    )
    house.series(guard=engine_patch(line10="first = 1"), second=second)
    assert house.refresh("1.8.9") == 0
    series = Series.load(house.workspace.patches)
    assert [str(patch.releases) for patch in series.patches] == ["<1.8.9,>=1.0", ">=1.0"]
    assert house.texts("1.8.9") == {ENGINE_PATH: source(line10="first = 1", line30="x = 1")}
    assert house.variants == {"guard/1.0.patch", "second/1.0.patch"}


def test_from_a_later_release_if_there_is_no_older_one(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.release("1.8.8", line8="another = 8")
    house.release("1.8.9")
    for name in house.index.uploads:
        if "-1.8.8-" in name:
            house.index.uploads[name] = datetime(2025, 1, 2, tzinfo=UTC)
    house.series(guard=engine_patch(line10="first = 1"))
    assert house.refresh("1.8.8", "--as-of", "2025-02-02") == 16
    assert "there is no other release that the series fits" in capsys.readouterr().err
    assert house.refresh("1.8.8") == 0
    assert house.texts("1.8.8") == {ENGINE_PATH: source(line8="another = 8", line10="first = 1")}


def test_an_older_line_that_goes_on(house: House) -> None:
    """Later releases keep the variants that they had."""
    house.release("1.8.8")
    house.release("1.8.8.1", line8="another = 8", line39="taken = 1")
    house.release("1.8.9", line1="new = 1\nvalue_1 = 1")
    house.series(guard=engine_patch(line10="first = 1"), taken=engine_patch(line39="taken = 1"))
    before = house.texts("1.8.9")
    assert house.refresh("1.8.8.1") == 0
    taken = source(line8="another = 8", line10="first = 1", line39="taken = 1")
    assert house.texts("1.8.8.1") == {ENGINE_PATH: taken}
    assert house.texts("1.8.9") == before
    assert house.variants == {
        "guard/1.0.patch",
        "guard/1.8.8.1.patch",
        "guard/1.8.9.patch",
        "taken/1.0.patch",
    }
    assert str(Series.load(house.workspace.patches).patches[1].releases) == "!=1.8.8.1,>=1.0"


def test_an_unwritable_series_stays_whole(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.release("1.8.8")
    house.series(one=engine_patch(line10="first = 1"), two=engine_patch(line30="x = 1"))
    variants = Series.load(house.workspace.patches).variants_for(Version("1.8.8"))
    before = snapshot(house.workspace.patches)
    write = files.write_whole

    def failing(path: Path, data: bytes) -> None:
        if path.parent.name == "two":
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(module, "write_whole", failing)
    steps = [ExportedPatch(variant, b"mail", fresh=True) for variant in variants]
    new = module.new_files(house.workspace.patches, Version("1.8.8"), steps)
    with pytest.raises(NotWritable, match="No space"):
        module.write_files(house.workspace.patches, new)
    after = snapshot(house.workspace.patches)
    assert {path: text for path, (_, text) in after.items()} == {
        path: text for path, (_, text) in before.items()
    }


def conflict(ours: str, base: str, theirs: str) -> bytes:
    text = f"<<<<<<< HEAD\n{ours}||||||| parent\n{base}=======\n{theirs}>>>>>>> idea\n"
    return f"before\n{text}after\n".encode()


@pytest.mark.parametrize(
    ("ours", "base", "theirs", "answer"),
    [
        ("b\nC\n", "b\nc\n", "B\nc\n", "B\nC\n"),  # each changed a line of its own
        ("c\n", "", "n\n", "n\nc\n"),  # both put something in
        ("  b\n  c\n", "b\nc\n", "n\nb\nc\n", "n\n  b\n  c\n"),  # before what upstream indented
        ("  b\n", "b\n", "b\nn\n", "  b\nn\n"),
        ("", "b\nc\n", "b\nn\nc\n", "n\n"),  # between what upstream removed
        ("x\n", "b\nc\n", "b\nn\nc\n", None),
        ("B\n", "b\n", "y\n", None),
        ("", "b\n", "y\n", None),
    ],
)
def test_conflicts_with_one_answer(ours: str, base: str, theirs: str, answer: str | None) -> None:
    expected = None if answer is None else f"before\n{answer}after\n".encode()
    assert resolve(conflict(ours, base, theirs)) == expected
    assert resolve(conflict(ours, base, theirs) + conflict("B\n", "b\n", "y\n")) is None

"""series.toml and patch files: what is chosen, and what is refused, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import (
    AGENTS,
    ENGINE,
    ENGINE_PATH,
    FIELDS,
    diff,
    engine_patch,
    mail,
    source,
    write_series,
)
from packaging.version import Version

from toolkit.patches.series import Series
from toolkit.util.errors import InvalidSeries, PatchConflict

ONE, TWO, THREE = (engine_patch(line9=f"value_9 = {n}") for n in ("'one'", "'two'", "'three'"))


def load(folder: Path) -> Series:
    series = Series.load(folder)
    series.check()
    return series


@pytest.mark.parametrize(
    ("version", "since"),
    [
        ("1.2.9", "1.2.9"),
        ("1.8.2", "1.2.9"),
        ("1.8.3", "1.8.3"),
        ("1.8.10", "1.8.3"),
        ("1.10.0", "1.10.0"),
        ("2.0.0b1", "1.10.0"),
        ("1.10.0rc1", "1.8.3"),
    ],
)
def test_variant_is_good_until_the_next_file(tmp_path: Path, version: str, since: str) -> None:
    write_series(tmp_path, {"guard": {"1.10.0": THREE, "1.2.9": ONE, "1.8.3": TWO}})
    (variant,) = load(tmp_path).variants_for(Version(version))
    assert variant.path.name == f"{since}.patch"
    assert variant.since == Version(since)


def test_order_is_that_of_the_table(tmp_path: Path) -> None:
    write_series(tmp_path, {"second": {"1.0": ONE}, "first": {"1.0": TWO}})
    names = [variant.patch for variant in load(tmp_path).variants_for(Version("1.1"))]
    assert names == ["second", "first"]


def test_below_the_first_variant_is_a_conflict(tmp_path: Path) -> None:
    write_series(tmp_path, {"guard": {"1.8.3": ONE}})
    with pytest.raises(PatchConflict, match=r"guard begins with 1\.8\.3.*1\.8\.2") as caught:
        load(tmp_path).variants_for(Version("1.8.2"))
    assert "guard/1.8.2.patch" in caught.value.next_step


def test_releases_leave_a_patch_out(tmp_path: Path) -> None:
    write_series(tmp_path, {"guard": {"1.8.3": ONE}}, releases=">=1.8.3,<2.0.0b1")
    series = load(tmp_path)
    assert series.variants_for(Version("1.0.0")) == ()
    assert series.variants_for(Version("2.0.0b1")) == ()
    assert len(series.variants_for(Version("1.8.4rc1"))) == 1


def test_variant_knows_what_it_touches(tmp_path: Path) -> None:
    write_series(tmp_path, {"guard": {"1.0": ONE}})
    series = load(tmp_path)
    (variant,) = series.variants_for(Version("1.0"))
    assert [change.path for change in variant.changes] == [ENGINE_PATH]
    assert series.locate(ENGINE_PATH) == (AGENTS, ENGINE)
    assert variant.header == {"Description": "Guard the calls", **FIELDS}


def test_digest_covers_bytes_names_label_and_table(tmp_path: Path) -> None:
    version = Version("1.5")
    digests = [
        load(write_series(tmp_path / str(number), patches)).digest(version)
        for number, patches in enumerate(
            ({"a": {"1.0": ONE}}, {"a": {"1.0": TWO}}, {"b": {"1.0": ONE}}, {"a": {"1.1": ONE}})
        )
    ]
    toml = tmp_path / "0/series.toml"
    for old, new in (('name = "dispatched"', 'name = "other"'), ("livekit/agents/v", "livekit/v")):
        text = toml.read_text("utf-8")
        toml.write_text(text.replace(old, new), "utf-8")
        digests.append(Series.load(tmp_path / "0").digest(version))
    assert digests[3] == digests[0]
    assert len(set(digests)) == 5


def test_local_version(tmp_path: Path) -> None:
    series = load(write_series(tmp_path, {"a": {"1.0": ONE}}))
    assert str(series.local_version(Version("2.0.0b1"), 3)) == "2.0.0b1+dispatched.3"


def test_every_fault_of_the_table_is_said_at_once(tmp_path: Path) -> None:
    write_series(tmp_path, {"guard": {"1.0": ONE}}, extra='drop = "typing error"\n')
    with (tmp_path / "series.toml").open("a", encoding="utf-8") as file:
        file.write('fuzz = 2\n[[patch]]\nname = "Bad Name"\nreleases = "~1"\nwhy = ""\n[more]\n')
    with pytest.raises(InvalidSeries) as caught:
        Series.load(tmp_path)
    said = str(caught.value)
    for problem in (
        "[series] dispatched: unknown key 'drop'",
        "[patch] guard: unknown key 'fuzz'",
        "[patch] Bad Name: why is no text",
        "[patch] Bad Name: upstream is no text",
        "unknown key 'more'",
    ):
        assert problem in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('releases = ">=1.0"', 'releases = "1.0!"', "releases: "),
        ('name = "guard"', 'name = "../guard"', "plain small letters"),
        ('name = "dispatched"', 'name = "dis-patched"', "plain small letters"),
        ('tree = "livekit-agents"', 'tree = "../agents"', "tree is no safe path"),
        ('upstream = "https://example.org/1"', 'upstream = "nowhere"', "upstream is no link"),
        ("[series]", "[series", "no TOML"),
        ('name = "livekit-agents"', 'name = "livekit-plugins-openai"', "stands twice"),
    ],
)
def test_bad_values_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    write_series(tmp_path, {"guard": {"1.0": ONE}})
    text = (tmp_path / "series.toml").read_text("utf-8")
    assert old in text
    (tmp_path / "series.toml").write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(InvalidSeries, match=said):
        Series.load(tmp_path)


def test_folders_and_table_must_agree(tmp_path: Path) -> None:
    write_series(tmp_path, {"guard": {"1.0": ONE, "1.0.0": TWO}, "empty": {}})
    (tmp_path / "stray").mkdir()
    (tmp_path / "guard/notes.txt").write_text("?", "utf-8")
    with pytest.raises(InvalidSeries) as caught:
        Series.load(tmp_path)
    said = str(caught.value)
    assert "stray/ stands in no [[patch]]" in said
    assert "guard/notes.txt is not named <release>.patch" in said
    assert "the same release" in said
    assert "empty/ has no <release>.patch" in said


def test_no_series_at_all(tmp_path: Path) -> None:
    with pytest.raises(InvalidSeries, match=r"has no series\.toml"):
        Series.load(tmp_path)


CHANGE = diff(ENGINE_PATH, source(), source(line9="x = 1"))


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        (mail(CHANGE, fields={}), "has no Origin"),
        (mail(CHANGE, fields={**FIELDS, "Forwarded": ""}), "has no Forwarded"),
        (mail(CHANGE, fields={**FIELDS, "Last-Update": "soon"}), "Last-Update that is no date"),
        (mail(CHANGE, fields={**FIELDS, "Origin": "me"}), "Origin that is none of"),
        (mail(CHANGE, subject=""), "has no Description"),
        (CHANGE, "not one mail"),
        (mail(CHANGE) + mail(CHANGE), "not one mail"),
        (mail(), "is empty"),
        (mail(CHANGE, CHANGE), "twice"),
        (mail(CHANGE.replace(" value_8", " \n value_8")), "lines outside of its hunks"),
        (mail(CHANGE) + "-- \n2.39.5\n", "lines outside of its hunks"),
        (mail(CHANGE.rpartition(" value_12")[0]), "is no unified diff"),
        (
            mail(CHANGE.replace(TREE := "livekit-agents/livekit", "elsewhere")),
            "no [[distribution]]",
        ),
        (mail(CHANGE.replace(TREE, "livekit-agents/../x")), "unsafe path"),
        (mail(CHANGE.replace("a/livekit", "c/livekit")), "without a/ and b/"),
        (mail(diff(f"{ENGINE_PATH}.sh", "", "run\n")), "no plain .py file"),
        (
            mail(diff(ENGINE_PATH, "", "x\n").replace("mode 100644", "mode 120000")),
            "no plain .py file",
        ),
        (
            mail(f"diff --git a/{ENGINE_PATH} b/{ENGINE_PATH}\nold mode 100644\nnew mode 100755\n"),
            "does more to",
        ),
        (
            mail(
                f"diff --git a/{ENGINE_PATH} b/{ENGINE_PATH}\ndeleted file mode 100644\n"
                f"--- a/{ENGINE_PATH}\n+++ /dev/null\n@@ -1 +0,0 @@\n-x = 1\n"
            ),
            "does more to",
        ),
        (
            mail(
                f"diff --git a/{ENGINE_PATH} b/{ENGINE_PATH}2\nsimilarity index 100%\n"
                f"rename from {ENGINE_PATH}\nrename to {ENGINE_PATH}2\n"
            ),
            "does more to",
        ),
        (
            mail(
                f"diff --git a/{ENGINE_PATH} b/{ENGINE_PATH}\n"
                f"Binary files a/{ENGINE_PATH} and b/{ENGINE_PATH} differ\n"
            ),
            "does more to",
        ),
    ],
)
def test_bad_patch_files_are_refused(tmp_path: Path, patch: str, said: str) -> None:
    write_series(tmp_path, {"guard": {"1.0": ONE, "1.1": patch}})
    series = Series.load(tmp_path)
    assert series.variants_for(Version("1.0"))
    with pytest.raises(InvalidSeries, match=r"guard/1\.1") as caught:
        series.check()
    assert said in str(caught.value)

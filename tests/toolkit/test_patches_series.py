"""``series.toml``: which variant is chosen, and every fault of the table at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version
from series import FIELDS, engine_patch, write_series
from wheels import AGENTS, ENGINE, ENGINE_PATH

from toolkit.patches.series import Series
from toolkit.util.errors import InvalidSeries, PatchConflict

ONE, TWO, THREE = (engine_patch(line9=f"value_9 = {n}") for n in ("'one'", "'two'", "'three'"))


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
    (variant,) = Series.load(tmp_path).variants_for(Version(version))
    assert variant.path.name == f"{since}.patch"
    assert variant.since == Version(since)


def test_order_is_that_of_the_table(tmp_path: Path) -> None:
    series = Series.load(write_series(tmp_path, {"second": {"1.0": ONE}, "first": {"1.0": TWO}}))
    assert [v.patch for v in series.variants_for(Version("1.1"))] == ["second", "first"]


def test_below_the_first_variant_is_a_conflict(tmp_path: Path) -> None:
    series = Series.load(write_series(tmp_path, {"guard": {"1.8.3": ONE}}))
    with pytest.raises(PatchConflict, match=r"guard begins with 1\.8\.3.*1\.8\.2") as caught:
        series.variants_for(Version("1.8.2"))
    assert "guard/1.8.2.patch" in caught.value.next_step


def test_releases_leave_a_patch_out(tmp_path: Path) -> None:
    write_series(tmp_path, {"guard": {"1.8.3": ONE}}, releases=">=1.8.3,<2.0.0b1")
    series = Series.load(tmp_path)
    counts = {v: len(series.variants_for(Version(v))) for v in ("1.0.0", "2.0.0b1", "1.8.4rc1")}
    assert counts == {"1.0.0": 0, "2.0.0b1": 0, "1.8.4rc1": 1}


def test_what_a_variant_touches(tmp_path: Path) -> None:
    series = Series.load(write_series(tmp_path, {"guard": {"1.0": ONE}}))
    (variant,) = series.variants_for(Version("1.0"))
    assert [change.path for change in variant.changes] == [ENGINE_PATH]
    assert series.locate(ENGINE_PATH) == (AGENTS, ENGINE)
    assert variant.header == {"Description": "Guard the calls", **FIELDS}
    with pytest.raises(InvalidSeries, match="belongs to no"):
        series.locate("elsewhere/x.py")


def test_digest_covers_bytes_names_label_and_table(tmp_path: Path) -> None:
    version = Version("1.5")
    digests = [
        Series.load(write_series(tmp_path / str(number), patches)).digest(version)
        for number, patches in enumerate(
            ({"a": {"1.0": ONE}}, {"a": {"1.0": TWO}}, {"b": {"1.0": ONE}}, {"a": {"1.1": ONE}})
        )
    ]
    toml = tmp_path / "0/series.toml"
    for old, new in (('name = "dispatched"', 'name = "other"'), ("livekit/agents/v", "livekit/v")):
        toml.write_text(toml.read_text("utf-8").replace(old, new), "utf-8")
        digests.append(Series.load(tmp_path / "0").digest(version))
    assert digests[3] == digests[0]
    assert len(set(digests)) == 5


def test_local_version(tmp_path: Path) -> None:
    series = Series.load(write_series(tmp_path, {"a": {"1.0": ONE}}))
    assert str(series.local_version(Version("2.0.0b1"), 3)) == "2.0.0b1+dispatched.3"
    borrowed = series.local_version(Version("1.2.9"), 1, Version("1.2.10"))
    assert str(borrowed) == "1.2.9+dispatched.1.with.1.2.10"


def problem(folder: Path) -> str:
    with pytest.raises(InvalidSeries) as caught:
        Series.load(folder)
    return caught.value.problem


def test_every_fault_of_the_table_is_said_at_once(tmp_path: Path) -> None:
    extra = 'drop = "typing error"\nrelated = ["x", "https://example.org/2"]\n'
    write_series(tmp_path, {"guard": {"1.0": ONE}}, extra=extra)
    with (tmp_path / "series.toml").open("a", encoding="utf-8") as file:
        file.write('fuzz = 2\n[[patch]]\nname = "Bad Name"\nreleases = "~1"\nwhy = ""\n[more]\n')
    assert problem(tmp_path).splitlines()[1:] == [
        "unknown key 'more'",
        "[series] dispatched: related: x is no link",
        "[series] dispatched: unknown key 'drop'",
        "[patch] guard: unknown key 'fuzz'",
        "[patch] Bad Name: why is no text",
        "[patch] Bad Name: upstream is no text",
        "[patch] Bad Name: drop-when is no text",
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('releases = ">=1.0"', 'releases = "1.0!"', "[patch] guard: releases: "),
        ('releases = ">=1.0"', f'releases = ">={"9" * 5000}"', "releases: "),
        ('releases = ">=1.0"', f"releases = {'[' * 5000}", "no TOML"),
        ('releases = ">=1.0"', f'releases = ">=1.0"\nx = {"9" * 5000}', "no TOML"),
        ('name = "guard"', 'name = "../guard"', "[patch] ../guard: name is not in plain small"),
        ('name = "guard"', f'name = "{"g" * 101}"', "plain small letters"),
        ('name = "guard"', 'name = ["guard"]', "name is no text"),
        ('name = "dispatched"', 'name = "dis-patched"', "plain small letters"),
        ('tree = "livekit-agents"', 'tree = "../agents"', "tree is no safe path"),
        ('tree = "livekit-agents"', "tree = 1", "[distribution] livekit-agents: tree is no text"),
        ('"livekit/agents/version.py"', '"/etc/passwd"', "version-file is no safe path"),
        ('upstream = "https://example.org/1"', 'upstream = "nowhere"', "upstream is no link"),
        ('why = "w"', 'why = "\\ud800"', "no TOML"),
        ("[series]", "[series", "no TOML"),
        ("[series]\n", "[series]\nrelated = 1\n", "related is no list of links"),
        ("[series]", "[[series]]", "[series] is missing, or is not"),
        ("[[distribution]]", "[[distributions]]", "[distribution] is missing, or is not"),
        ('name = "livekit-agents"', 'name = "livekit-plugins-openai"', "stands twice"),
    ],
)
def test_faults_of_the_table(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    table = write_series(tmp_path, {"guard": {"1.0": ONE}}) / "series.toml"
    text = table.read_text("utf-8")
    assert old in text
    table.write_text(text.replace(old, new) if "distribution" in old else text.replace(old, new, 1))
    assert sentence in problem(tmp_path)


def test_folders_and_table_must_agree(tmp_path: Path) -> None:
    write_series(tmp_path, {"guard": {"1.0": ONE, "1.0.0": TWO}, "empty": {}})
    (tmp_path / "stray").mkdir()
    (tmp_path / "guard/2.0.patch").mkdir()
    (tmp_path / "guard/notes.txt").write_text("?", "utf-8")
    assert problem(tmp_path).splitlines()[1:] == [
        "guard has 1.0.0.patch and 1.0.patch: the same release",
        "guard/2.0.patch is not named <release>.patch",
        "guard/notes.txt is not named <release>.patch",
        "empty/ has no <release>.patch",
        "stray/ stands in no [[patch]] of series.toml",
    ]


def test_tables_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "series.toml").write_text("series = 1\ndistribution = 1\npatch = []\n", "utf-8")
    assert problem(tmp_path).splitlines()[1:] == [
        f"[{kind}] is missing, or is not the table it should be"
        for kind in ("series", "distribution", "patch")
    ]


def test_no_series_at_all(tmp_path: Path) -> None:
    assert "has no series.toml" in problem(tmp_path)
    (tmp_path / "series.toml").mkdir()
    assert "series.toml is no TOML: " in problem(tmp_path)

"""Patches, tables and verdicts that were made to harm; the fuzzer found most of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from making import AGENTS, ENGINE_PATH, diff, engine_patch, mail, source, write_series
from packaging.version import Version

from toolkit.patches.series import Series
from toolkit.patches.tree import make_tree
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Catalogue, Entry, dump
from toolkit.releases.release import Artefact
from toolkit.util.errors import InvalidSeries
from toolkit.util.strict_json import Malformed

ONE = engine_patch(line9="first = 1")
CHANGE = diff(ENGINE_PATH, source(), source(line9="first = 1"))
NEW = diff("conftest.py", "", "import os\n").partition("\n")[2].partition("\n")[2]


def faults(tmp_path: Path, patch: str | bytes) -> str:
    write_series(tmp_path, {"guard": {"1.0": ONE}})
    data = patch if isinstance(patch, bytes) else patch.encode()
    (tmp_path / "guard/1.0.patch").write_bytes(data)
    with pytest.raises(InvalidSeries) as caught:
        Series.load(tmp_path).check()
    assert "guard/1.0.patch" in caught.value.problem
    return caught.value.problem


@pytest.mark.parametrize("before", ["", "Index: conftest.py\n", "diff -u conftest.py\n"])
def test_diff_that_only_git_would_see(tmp_path: Path, before: str) -> None:
    """git looks for diffs after the mail's first `---`, unidiff after its first `diff --git`."""
    patch = mail(CHANGE).replace("---\n\ndiff", f"---\n\n{before}{NEW}diff", 1)
    assert NEW in patch
    assert "a diff before its first" in faults(tmp_path, patch)


def test_subject_in_no_encoding(tmp_path: Path) -> None:
    patch = mail(CHANGE, subject="Gu\udcffard").encode("utf-8", "surrogateescape")
    write_series(tmp_path, {"guard": {"1.0": ONE}})
    (tmp_path / "guard/1.0.patch").write_bytes(patch)
    (variant,) = Series.load(tmp_path).variants_for(Version("1.8.9"))
    assert variant.header["Description"].startswith("Gu")


def test_patch_of_endless_length(tmp_path: Path) -> None:
    assert "is longer than" in faults(tmp_path, mail(CHANGE) + "x\n" * (1 << 20))


@pytest.mark.parametrize(
    "path",
    [
        *("../x.py", "livekit-agents/../../x.py", ".git/hooks/x.py", "livekit-agents/.GIT/x.py"),
        *("C:x.py", "livekit-agents\\x.py", "livekit-agents//x.py", "./x.py"),
    ],
)
def test_new_files_outside_of_the_tree(tmp_path: Path, path: str) -> None:
    faults(tmp_path, mail(diff(path, "", "x = 1\n")))


@pytest.mark.parametrize(
    "patch",
    [
        mail(CHANGE.replace("@@ -6,7 +6,7 @@", "@@ -6,9999999 +6,7 @@")),
        mail(CHANGE.replace("@@ -6,7 +6,7 @@", f"@@ -{'9' * 5000},7 +6,7 @@")),
        mail(CHANGE.replace("@@ -6,7 +6,7 @@", "@@ -6,7 +6,8 @@")),
        mail(CHANGE).replace("Date:", "Content-Transfer-Encoding: base64\nDate:"),
        mail(CHANGE).replace("Date:", "Content-Transfer-Encoding: b\udcff64\nDate:"),
    ],
)
def test_mails_and_counts_that_lie(tmp_path: Path, patch: str) -> None:
    faults(tmp_path, patch.encode("utf-8", "surrogateescape"))


def test_second_mail_in_disguise(tmp_path: Path) -> None:
    """git splits at any line that looks like a mailbox's; unidiff reads on."""
    second = mail(diff(ENGINE_PATH, source(line9="first = 1"), source(line9="second = 2")))
    hidden = second.replace(f"From {'0' * 40} Mon", "From someone@example.org Mon", 1)
    write_series(tmp_path / "patches", {"guard": {"1.0": mail(CHANGE) + hidden}})
    series = Series.load(tmp_path / "patches")
    tree = tmp_path / "tree"
    with pytest.raises(InvalidSeries, match="is not one mail"):
        make_tree(series.variants_for(Version("1.8.9")), {ENGINE_PATH: b""}, tree)
    assert not tree.exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('releases = ">=1.0"', f'releases = ">={"9" * 5000}"'),
        ('releases = ">=1.0"', f"releases = {'[' * 5000}"),
        ('releases = ">=1.0"', f'releases = ">=1.0"\nx = {"9" * 5000}'),
        ('name = "guard"', 'name = ["guard"]'),
        ('name = "guard"', f'name = "{"g" * 5000}"'),
        ('name = "guard"', 'name = "../guard"'),
        ('tree = "livekit-agents"', 'tree = "../livekit-agents"'),
        ('version-file = "livekit/agents/version.py"', 'version-file = "/etc/passwd"'),
        ('why = "w"', 'why = "\\ud800"'),
    ],
)
def test_tables_that_explode(tmp_path: Path, old: str, new: str) -> None:
    table = write_series(tmp_path, {"guard": {"1.0": ONE}}) / "series.toml"
    assert old in table.read_text("utf-8")
    table.write_text(table.read_text("utf-8").replace(old, new, 1), "utf-8")
    with pytest.raises(InvalidSeries):
        Series.load(tmp_path)


def test_table_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "series.toml").mkdir()
    with pytest.raises(InvalidSeries):
        Series.load(tmp_path)


ARTEFACT = Artefact(
    distribution=AGENTS,
    version="1.8.9",
    filename="livekit_agents-1.8.9-py3-none-any.whl",
    url="",
    sha256="ab" * 32,
    size=1,
    upload_time=datetime(2026, 1, 2, tzinfo=UTC),
    requires_python=">=3.10",
    yanked=None,
)


def test_catalogue_keeps_any_reason(tmp_path: Path) -> None:
    """TOML has no halves of a character, which JSON has."""
    reason = 'broken 🙂 "quoted" \\ é'
    entry = Entry(Version("1.8.9"), (replace(ARTEFACT, yanked=reason),))
    path = tmp_path / "releases.toml"
    path.write_text(dump({entry.version: entry}), "utf-8")
    assert Catalogue.read(path)[entry.version] == entry


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size = 1,", f"size = {'9' * 5000},"),
        ("size = 1,", f"size = {'[' * 5000},"),
        ("size = 1,", "size = -1,"),
        ("2026-01-02T00:00:00Z", "0001-01-01T00:00:00+14:00"),
        ("ab" * 32, "../../x"),
        ("ab" * 32, "AB" * 32),
        ('release."1.8.9"]', f'release."{"9" * 5000}"]'),
    ],
)
def test_catalogues_that_explode(tmp_path: Path, old: str, new: str) -> None:
    text = dump({Version("1.8.9"): Entry(Version("1.8.9"), (ARTEFACT,))})
    assert old in text
    path = tmp_path / "releases.toml"
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(InvalidSeries, match=r"releases\.toml is damaged"):
        dict(Catalogue.read(path))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "9" * 5000, "NaN", '{"a": 1, "a": 1}', '"\\ud800"']
)
def test_verdicts_that_explode(text: str) -> None:
    with pytest.raises(Malformed):
        Verdict.parse(text)

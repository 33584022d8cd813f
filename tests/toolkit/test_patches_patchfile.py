"""Patch files: what is read of them, and what is rejected."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version
from series import FIELDS, diff, engine_patch, mail, write_series
from wheels import ENGINE_PATH, source

from toolkit.patches.series import Series
from toolkit.util.errors import InvalidSeries

CHANGE = diff(ENGINE_PATH, source(), source(line9="x = 1"))
NEW = diff("conftest.py", "", "import os\n").partition("\n")[2].partition("\n")[2]
SECOND = mail(diff(ENGINE_PATH, source(line9="x = 1"), source(line9="second = 2")))
NO_END = "\\ No newline at end of file\n"
ZEROS = f"From {'0' * 40} Mon"
HEAD = f"diff --git a/{ENGINE_PATH} b/{ENGINE_PATH}"


def series_with(folder: Path, patch: str) -> Series:
    """A series whose variant for 1.1 is ``patch``, and that for 1.0 a good one."""
    write_series(folder, {"guard": {"1.0": engine_patch(line9="first = 1"), "1.1": ""}})
    (folder / "guard/1.1.patch").write_bytes(patch.encode("utf-8", "surrogateescape"))
    return Series.load(folder)


def test_subject_in_no_encoding(tmp_path: Path) -> None:
    series = series_with(tmp_path, mail(CHANGE, subject="Gu\udcffard"))
    (variant,) = series.variants_for(Version("1.1"))
    assert variant.header["Description"].startswith("Gu")


def test_description_may_be_a_field(tmp_path: Path) -> None:
    series = series_with(tmp_path, mail(CHANGE, fields={**FIELDS, "Description": "Why"}))
    assert series.variants_for(Version("1.1"))[0].header["Description"] == "Why"


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        # the header
        (mail(CHANGE, fields={}), "has no Origin"),
        (mail(CHANGE, fields={**FIELDS, "Forwarded": ""}), "has no Forwarded"),
        (mail(CHANGE, fields={**FIELDS, "Last-Update": "soon"}), "Last-Update that is no date"),
        (mail(CHANGE, fields={**FIELDS, "Origin": "me"}), "Origin that is none of"),
        (mail(CHANGE, subject=""), "has no Description"),
        (mail(CHANGE).replace(" <maintainer@example.org>", ""), "has no From of a name and"),
        (mail(CHANGE).replace("er@example.org>", ""), "has no From of a name and"),
        (mail(CHANGE).replace("A Maintainer", "..."), "has no From of a name and"),
        (mail(CHANGE).replace("A Maintainer", "=?UTF-8?q?..?="), "has no From of a name and"),
        (mail(CHANGE).replace("A Maintainer", "=?x-none?q?A?="), "has no From of a name and"),
        (mail(CHANGE).replace("Date:", "From: ... <a@b>\nDate:"), "has no From of a name and"),
        (mail(CHANGE).replace("Why it", "From: ... <a@b>\n\nWhy it"), "has no From of a name"),
        (mail(CHANGE).replace("Sun, 22 Nov 202", ""), "has a Date unlike"),
        (mail(CHANGE).replace("+0000", "+9999"), "has a Date unlike"),
        (mail(CHANGE).replace("Why it", "Date: soon\n\nWhy it"), "has a Date unlike"),
        (mail(CHANGE, subject="\x85\udcff").replace("Nov", "Nev"), "has a Date unlike"),
        (mail(CHANGE).replace("Date:", "Content-Transfer-Encoding: base64\nDate:"), "encoded body"),
        (mail(CHANGE).replace("Date:", "Content-Transfer-Encoding: b\udcff\nDate:"), "encoded"),
        (mail(CHANGE).replace("Date:", "content-type: text/plain; format=flowed\nDate:"), "-Type"),
        (mail(CHANGE).replace("Date:", "Content-Type: multipart/mixed\nDate:"), "Content-Type"),
        # one mail, whole
        (CHANGE, "not one mail"),
        (mail(CHANGE) + mail(CHANGE), "not one mail"),
        (mail(CHANGE) + SECOND.replace(ZEROS, "From a@example.org Mon", 1), "not one mail"),
        (mail(CHANGE) + "x\n" * (1 << 20), "is longer than"),
        ("", "is empty"),
        (" \n\n", "is empty"),
        (mail(), "is empty"),
        (mail(CHANGE) + "\0\n", "is damaged: it has a NUL byte"),
        (mail(CHANGE).removesuffix("\n"), "is cut off"),
        # git looks for diffs after the mail's first `---`, unidiff after its first `diff --git`
        (mail(CHANGE).replace("---\n\n", f"---\n\n{NEW}", 1), "a diff before its first"),
        (mail(f"Index: conftest.py\n{NEW}{CHANGE}"), "a diff before its first"),
        (mail(f"diff -u conftest.py\n{NEW}{CHANGE}"), "a diff before its first"),
        (mail(CHANGE.replace(" value_8", " \n value_8")), "lines outside of its hunks"),
        (mail(CHANGE) + "-- \n2.39.5\n", "lines outside of its hunks"),
        (mail(CHANGE.rpartition(" value_12")[0]), "is no unified diff"),
        (mail(CHANGE.replace("@@ -6,7 +6,7 @@", "@@ -6,9999999 +6,7 @@")), "is no unified diff"),
        (mail(CHANGE.replace("@@ -6,7 ", f"@@ -{'9' * 5000},7 ")), "is no unified diff"),
        (mail(CHANGE.replace("@@ -6,7 +6,7 @@", "@@ -6,7 +6,8 @@")), "is no unified diff"),
        (mail(CHANGE, "@@ -20,1 +20,1 @@\n value_20 = 20\n"), "has a hunk that changes nothing"),
        (mail(CHANGE.replace("9 = 9\n", f"9 = 9\n{NO_END}")), "without an end that is not the"),
        (mail(f"{CHANGE}{NO_END}{NO_END}"), "without an end that is not the last"),
        (mail(CHANGE.replace("+x = 1\n", f"+x = 1\n{NO_END}")), "without an end that is not the"),
        (
            mail(CHANGE.replace("9 = 9\n", "9 = 9\n\\ No end\n")),
            "a backslash line other than git's",
        ),
        (mail(CHANGE.replace("--- a/livekit", "--- a/x")), "has other names than"),
        (mail(diff("new.py", "", "x\n").replace("\nnew file", "\n\nnew file")), "other lines than"),
        (mail(CHANGE.replace("\n--- a", "\nold\n--- a", 1)), "other lines than git's"),
        # the files
        (mail(CHANGE, CHANGE), f"changes {ENGINE_PATH} twice"),
        (mail(CHANGE.replace("livekit-agents/livekit", "elsewhere")), "no [[distribution]]"),
        (mail(CHANGE.replace("livekit-agents/livekit", "livekit-agents/../x")), "unsafe path"),
        (mail(CHANGE.replace("a/livekit", "c/livekit")), "without a/ and b/"),
        *(
            (mail(diff(path, "", "x = 1\n")), sentence)
            for path, sentence in (
                ("../x.py", "unsafe path"),
                ("livekit-agents/../../x.py", "unsafe path"),
                (".git/hooks/x.py", "unsafe path"),
                ("livekit-agents/.GIT/x.py", "unsafe path"),
                ("C:x.py", "unsafe path"),
                ("livekit-agents\\x.py", "unsafe path"),
                ("livekit-agents//x.py", "unsafe path"),
                ("./x.py", "unsafe path"),
                ("livekit-agents/git~1/x.py", "unsafe path"),
                ("livekit-agents/.git. /x.py", "unsafe path"),
                (f"{ENGINE_PATH}.sh", "no plain .py file"),
            )
        ),
        (mail(diff(ENGINE_PATH, "", "x\n").replace("100644", "120000")), "no plain .py file"),
        (mail(f"{HEAD}\nold mode 100644\nnew mode 100755\n"), "does more to"),
        (
            mail(
                f"{HEAD}\ndeleted file mode 100644\n--- a/{ENGINE_PATH}\n+++ /dev/null\n"
                "@@ -1 +0,0 @@\n-x = 1\n"
            ),
            "does more to",
        ),
        (
            mail(
                f"{HEAD}2\nsimilarity index 100%\nrename from {ENGINE_PATH}\n"
                f"rename to {ENGINE_PATH}2\n"
            ),
            "does more to",
        ),
        (mail(f"{HEAD}\nBinary files a/{ENGINE_PATH} and b/{ENGINE_PATH} differ\n"), "does more"),
        (mail(f"{HEAD}\nindex 1..2 100644\n"), "has no hunk for"),
    ],
)
def test_faults(tmp_path: Path, patch: str, sentence: str) -> None:
    series = series_with(tmp_path, patch)
    assert series.variants_for(Version("1.0"))
    with pytest.raises(InvalidSeries, match=r"guard/1\.1\.patch") as caught:
        series.variants_for(Version("1.1"))
    assert sentence in caught.value.problem


def test_patch_that_cannot_be_read(tmp_path: Path) -> None:
    series = series_with(tmp_path, mail(CHANGE))
    (tmp_path / "guard/1.1.patch").unlink()
    with pytest.raises(InvalidSeries, match=r"guard/1\.1\.patch cannot be read: No such") as caught:
        series.variants_for(Version("1.1"))
    assert "git checkout -- guard/1.1.patch" in caught.value.next_step

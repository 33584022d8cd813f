"""Damaged patch files and tables: rejected, or git and this toolkit make the same of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import NASTY, fuzz, rejected, scarred, shuffled, was_read
from packaging.version import Version
from series import diff, engine_patch, mail, write_series
from wheels import ENGINE_PATH, TREES, source

from toolkit.patches.patchfile import Variant, parse_variant
from toolkit.patches.series import Series
from toolkit.patches.tree import make_tree
from toolkit.util.errors import InvalidSeries, PatchConflict
from toolkit.util.workspace import REPOSITORY

RELEASE = Version("1.8.9")
NEW = f"{TREES['livekit-agents']}/livekit/agents/new.py"
OTHER = diff("conftest.py", "", "import os\n").partition("\n")[2]
SEEDS = (
    engine_patch(line9="first = 1"),
    engine_patch(line3="a = 1", line20="b = 2", line38="c = 3"),
    mail(diff(ENGINE_PATH, source(), source(line9="x = 1")), diff(NEW, "", "new = 1\n")),
)
LINES = (
    *(f"{nasty}\n" for nasty in NASTY if "\n" not in nasty and len(nasty) < 100),
    f"From {'0' * 40} Mon Sep 17 00:00:00 2001\n",
    "From someone@example.org Thu Jan  1 00:00:00 2015\n",
    *("From: Other <o@example.org>\n", "Subject: other\n", "---\n", "-- >8 --\n", "-- \n2.39.5\n"),
    "Content-Type: multipart/mixed; boundary=x\n",
    *("Content-Transfer-Encoding: base64\n", "Content-Transfer-Encoding: quoted-printable\n"),
    *("old mode 100644\nnew mode 100755\n", "deleted file mode 100644\n", "GIT binary patch\n"),
    *("new file mode 120000\n", f"rename from {ENGINE_PATH}\nrename to x.py\n", "copy from a\n"),
    *("@@ -1,3 +1,3 @@\n", "@@ -0,0 +1 @@\n", "@@ -99999999999,1 +1,1 @@\n", "@@ -1 +1 @@ x\n"),
    *("+import os\n", "-value_1 = 1\n", " value_1 = 1\n", "\\ No newline at end of file\n", " \n"),
    *(OTHER, f"Index: x\n{OTHER}", f"diff -u a b\n{OTHER}", f"diff --git a/c.py b/c.py\n{OTHER}"),
    diff(".git/hooks/pre-commit.py", "", "x = 1\n"),
    diff("../escaped.py", "", "x = 1\n"),
    diff(".gitattributes", "", "* text eol=crlf\n"),
    diff(f"{TREES['livekit-agents']}/link.py", "", "/etc/passwd\n").replace("100644", "120000"),
)
ROWS = (
    *('name = ["x"]\n', 'name = "../x"\n', "[[patch]]\n", "[series]\n", 'tree = "../.."\n'),
    *('version-file = "/etc/passwd"\n', f'releases = ">={"9" * 5000}"\n', f"x = {'[' * 5000}\n"),
    "x = 1\n",
    *('releases = "<0"\n', 'upstream = "javascript:x"\n', "name = 1979-05-27\n", 'why = ""\n'),
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, text: str) -> bytes:
    """A patch file with a few accidents, another path, or other lines."""
    match draw(st.integers(0, 5)):
        case 0:
            return draw(scarred(text.encode(), SEEDS[1].encode()))
        case 1:
            path = draw(st.sampled_from((ENGINE_PATH, NEW, "agents/engine")))
            text = text.replace(path, draw(st.sampled_from(NASTY)))
        case _:
            text = draw(shuffled(text, LINES))
    return text.encode("utf-8", "surrogatepass")


def parsed(path: Path, data: bytes) -> Variant | None:
    """Read a patch file; exactly one of a variant and problems comes of it."""
    path.write_bytes(data)
    problems: list[str] = []
    variant = None
    with rejected(InvalidSeries):
        variant = parse_variant("guard", RELEASE, path, problems)
        assert (variant is None) == bool(problems)
        if problems:
            raise InvalidSeries("\n".join(problems), next_step="-")
    return variant


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    write_series(folder / "patches", {"guard": {"1.0": SEEDS[0]}})
    return folder


@fuzz(250)
@given(st.sampled_from(SEEDS).flatmap(damaged))
@example(SEEDS[2].encode())
@example(SEEDS[2].replace("\n", "\r\n").encode())
@example(mail(diff(ENGINE_PATH, source(), source(line3="x = (")).partition("---")[0]).encode())
def test_git_and_the_toolkit_apply_the_same(folder: Path, data: bytes) -> None:
    if not parsed(folder / "patches/guard/1.0.patch", data):
        return
    tree, before = folder / "tree", set(folder.iterdir())
    with rejected((InvalidSeries, PatchConflict)):
        (variant,) = Series.load(folder / "patches").variants_for(RELEASE)
        made = make_tree([variant], {ENGINE_PATH: source().encode()}, tree)
        paths = [path for path in tree.rglob("*") if ".git/" not in f"{path}/"]
        files = {str(path.relative_to(tree)) for path in paths if not path.is_dir()}
        shutil.rmtree(tree)
        assert files == {ENGINE_PATH, *(change.path for change in variant.changes)}
        assert not any(path.is_symlink() for path in paths)
        assert made.changed
        was_read()
    assert set(folder.iterdir()) == before


REAL = sorted(REPOSITORY.glob("patches/*/*.patch"))


@fuzz(750)
@given(st.sampled_from(REAL).flatmap(lambda path: damaged(path.read_text("utf-8"))))
def test_damaged_patches_of_the_series(folder: Path, data: bytes) -> None:
    """As for made patches, on the lines that the hunks themselves show."""
    variant = parsed(folder / "real.patch", data)
    for change in variant.changes if variant else ():
        lines = [""] * max((h.source_start + h.source_length for h in change.diff), default=0)
        for hunk in change.diff:
            old = [line.value.rstrip("\n") for line in hunk.source_lines()]
            lines[hunk.source_start - 1 : hunk.source_start - 1 + len(old)] = old
        if not change.is_new:
            change.applied("\n".join(lines).encode("utf-8", "surrogateescape"))
            was_read()


@fuzz()
@given(st.data())
def test_damaged_tables(folder: Path, data: st.DataObject) -> None:
    patches = write_series(folder / "table", {"guard": {"1.0": SEEDS[0]}})
    table = patches / "series.toml"
    text = table.read_text("utf-8")
    new = shuffled(text, ROWS).map(lambda t: t.encode("utf-8", "surrogatepass"))
    table.write_bytes(data.draw(new | scarred(text.encode())))
    with rejected((InvalidSeries, PatchConflict)):
        series = Series.load(patches)
        series.variants_for(RELEASE)
        series.digest(RELEASE)
        assert all(patch.variants.keys() == {Version("1.0")} for patch in series.patches)
        paths = [f"{d.tree}/{d.version_file}" for d in series.distributions]
        assert not any(".." in path.split("/") for path in paths)
        was_read()

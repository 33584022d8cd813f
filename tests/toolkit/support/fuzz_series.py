"""Mutated patches and tables. Harmless: git and unidiff make the same of it, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from fuzzing import NASTY, Fault, Subject, refused, scarred, shuffled
from making import ENGINE_PATH, TREES, diff, mail, source, write_series
from packaging.version import Version

from toolkit.patches.patchfile import Variant, parse_variant
from toolkit.patches.series import Series
from toolkit.patches.tree import make_tree
from toolkit.releases.catalogue import Catalogue, dump
from toolkit.util.errors import InvalidSeries, PatchConflict, ToolkitError

PATCHES = Path(__file__).resolve().parents[3] / "patches"
RELEASE = Version("1.8.9")
NEW = f"{TREES['livekit-agents']}/livekit/agents/new.py"
OTHER = diff("conftest.py", "", "import os\n").partition("\n")[2]
SEEDS = (
    mail(diff(ENGINE_PATH, source(), source(line9="first = 1"))),
    mail(diff(ENGINE_PATH, source(), source(line3="a = 1", line20="b = 2", line38="c = 3"))),
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
    *(
        'name = ["x"]\n',
        'name = "../x"\n',
        "[[patch]]\n",
        "[series]\n",
        'tree = "../.."\n',
        "x = 1\n",
    ),
    *('version-file = "/etc/passwd"\n', f'releases = ">={"9" * 5000}"\n', f"x = {'[' * 5000}\n"),
    *('releases = "<0"\n', 'upstream = "javascript:x"\n', "name = 1979-05-27\n", 'why = ""\n'),
    *(
        f'["release"."{"9" * 5000}"]\n',
        '[release."1.8.9"]\n',
        "size = -1\n",
        f"size = {'9' * 5000}\n",
    ),
    *('sha256 = "../../x"\n', "uploaded = 0001-01-01T00:00:00+14:00\n", "gone = 1\n", "= \n"),
)


def subjects() -> list[Subject]:
    """The series reader: patch files, its table, and the catalogue beside it."""
    return [
        Subject("patches", _patch),
        Subject("real patches", _real_patch),
        Subject("series.toml", _table),
        Subject("releases.toml", _catalogue),
    ]


def _mutated(random: Random, text: str, hostile: Sequence[str] = LINES) -> bytes:
    match random.randrange(6):
        case 0:
            return scarred(random, text.encode(), random.choice(SEEDS).encode())
        case 1:
            return text.replace("\n", "\r\n").encode()
        case 2:
            nasty, path = random.choice(NASTY), random.choice((ENGINE_PATH, NEW, "agents/engine"))
            return text.replace(path, nasty).encode("utf-8", "surrogatepass")
        case _:
            return shuffled(random, text, hostile).encode("utf-8", "surrogatepass")


def _read(path: Path, data: bytes) -> Variant | str:
    path.write_bytes(data)
    problems: list[str] = []
    variant = parse_variant("guard", RELEASE, path, problems)
    if (variant is None) == (not problems):
        raise Fault(f"neither a patch nor a fault: {problems}")
    if variant is None:
        return refused(InvalidSeries("\n".join(problems), next_step="-"))
    return variant


def _patch(random: Random, folder: Path) -> str:
    seed = random.choice(SEEDS)
    data = _mutated(random, seed)
    series = _series(folder / "patches-made")
    variant = _read(folder / "patches-made/guard/1.0.patch", data)
    if isinstance(variant, str):
        return variant
    files = {ENGINE_PATH: source().encode()}
    tree, beside = folder / "tree", set(folder.iterdir())
    try:
        variant = series.variants_for(RELEASE)[0]
        made = make_tree([variant], files, tree)
    except ToolkitError as error:
        if not isinstance(error, InvalidSeries | PatchConflict):
            raise Fault(f"{type(error).__name__} for a patch: {error}") from error
        if set(folder.iterdir()) != beside:
            raise Fault("something half-done stays") from error
        return refused(error)
    names = {str(p.relative_to(tree)) for p in tree.rglob("*") if ".git/" not in f"{p}/"}
    there = {name for name in names if not (tree / name).is_dir()}
    links = [name for name in names if (tree / name).is_symlink()]
    expected = files.keys() | {change.path for change in variant.changes}
    shutil.rmtree(tree)
    if set(folder.iterdir()) != beside or links or there != expected:
        raise Fault(f"the tree holds {there - expected} besides, or links: {links}")
    if not made.changed:
        raise Fault("a patch without effect")
    return "unchanged" if data == seed.encode() else "harmless: git and unidiff agree"


@cache
def _series(folder: Path) -> Series:
    return Series.load(write_series(folder, {"guard": {"1.0": SEEDS[0]}}))


def _real_patch(random: Random, folder: Path) -> str:
    """As for made patches, on the lines that the hunks themselves show; git has no part in it."""
    seed = random.choice(_real())
    variant = _read(folder / "real.patch", _mutated(random, seed.read_bytes().decode()))
    if isinstance(variant, str):
        return variant
    for change in variant.changes:
        lines = [""] * max((h.source_start + h.source_length for h in change.diff), default=0)
        for hunk in change.diff:
            old = [line.value.rstrip("\n") for line in hunk.source_lines()]
            lines[hunk.source_start - 1 : hunk.source_start - 1 + len(old)] = old
        if not change.is_new:
            change.applied("\n".join(lines).encode("utf-8", "surrogateescape"))
    return "harmless: read, and in one way"


@cache
def _real() -> list[Path]:
    return sorted(PATCHES.glob("*/*.patch"))


def _table(random: Random, folder: Path) -> str:
    place = folder / "table"
    write_series(place, {"guard": {"1.0": SEEDS[0]}})
    table = place / "series.toml"
    seed = table.read_text("utf-8")
    table.write_bytes(_mutated(random, seed, ROWS))
    try:
        series = Series.load(place)
        series.variants_for(RELEASE)
        series.digest(RELEASE)
        for patch in series.patches:
            if patch.variants.keys() != {Version("1.0")}:
                raise Fault("variants from elsewhere")
        for distribution in series.distributions:
            if ".." in f"{distribution.tree}/{distribution.version_file}".split("/"):
                raise Fault("a path that leaves its folder")
    except ToolkitError as error:
        if not isinstance(error, InvalidSeries | PatchConflict):
            raise Fault(f"{type(error).__name__} for a table") from error
        return refused(error)
    return "unchanged" if table.read_bytes() == seed.encode() else "harmless: what it says is sound"


def _catalogue(random: Random, folder: Path) -> str:
    path = folder / "releases.toml"
    seed = _some_releases(random)
    path.write_bytes(_mutated(random, seed, ROWS))
    try:
        entries = dict(Catalogue.read(path))
    except ToolkitError as error:
        if not isinstance(error, InvalidSeries):
            raise Fault(f"{type(error).__name__} for a catalogue") from error
        return refused(error)
    if path.read_bytes() == seed.encode():
        return "unchanged"
    path.write_text(dump(entries), "utf-8")
    if dict(Catalogue.read(path)) != entries:
        raise Fault("written again it says something else")
    return "harmless: what it says is sound"


@cache
def _tables() -> list[str]:
    return (PATCHES / "releases.toml").read_text("utf-8").split("\n[release.")


def _some_releases(random: Random) -> str:
    head, *rest = _tables()
    at = random.randrange(len(rest) - 6)
    return "\n[release.".join([head, *rest[at : at + 6]]) + "\n"

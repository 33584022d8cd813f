"""A series in memory: what it applies, and that ``git am`` comes to the same files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from packaging.version import Version
from series import diff, engine_patch, mail
from wheels import ENGINE_PATH, TREES, source

from toolkit.patches.apply import apply_in_memory, require_python
from toolkit.patches.git_repo import GitConflict, Repository
from toolkit.patches.patchfile import Variant, parse_variant
from toolkit.util.errors import CommandFailed, PatchConflict
from toolkit.util.git import GitError, git

Files = Mapping[str, bytes]
OFFICIAL = {ENGINE_PATH: source().encode()}
NEW_PATH = f"{TREES['livekit-agents']}/livekit/agents/guard.py"
HEAD = f"diff --git a/{ENGINE_PATH} b/{ENGINE_PATH}\n--- a/{ENGINE_PATH}\n+++ b/{ENGINE_PATH}\n"
NO_END = "\\ No newline at end of file\n"
TEN = "".join(f"{letter}\n" for letter in "abcdefghij")
FOUR = "a\nb\nc\nd\n"


def variants_of(folder: Path, *patches: str) -> list[Variant]:
    """The variants of patches that are named a, b, and so on."""
    variants, problems = [], list[str]()
    for name, patch in zip("abc", patches, strict=False):
        path = folder / name / "1.0.patch"
        path.parent.mkdir()
        path.write_bytes(patch.encode())
        variants.append(parse_variant(name, Version("1.0"), path, problems))
    assert not problems
    return [variant for variant in variants if variant]


def by_memory(variants: Sequence[Variant], files: Files) -> Files | None:
    try:
        return apply_in_memory(variants, files)
    except PatchConflict:
        return None


def by_git(folder: Path, variants: Sequence[Variant], files: Files) -> Files | None:
    """The same by git itself; None if it refuses a patch."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    repository = Repository.create(folder)
    repository.commit_all("Official files")
    try:
        repository.am([variant.data for variant in variants])
    except (GitConflict, CommandFailed):
        return None
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


@pytest.mark.parametrize(
    ("hunks", "official", "expected"),
    [
        ("@@ -4,3 +4,3 @@\n d\n-e\n+E\n f\n", TEN, TEN.replace("e", "E")),
        # offset, in both directions; the nearest place, and the later one of two as near
        ("@@ -9,3 +9,3 @@\n d\n-e\n+E\n f\n", TEN, TEN.replace("e", "E")),
        ("@@ -2,3 +2,3 @@\n d\n-e\n+E\n f\n", TEN, TEN.replace("e", "E")),
        ("@@ -900,3 +900,3 @@\n d\n-e\n+E\n f\n", TEN, TEN.replace("e", "E")),
        ("@@ -4,3 +4,3 @@\n a\n-b\n+B\n c\n", FOUR * 3, FOUR + FOUR.replace("b", "B") + FOUR),
        ("@@ -3,3 +3,3 @@\n a\n-b\n+B\n c\n", FOUR * 3, FOUR + FOUR.replace("b", "B") + FOUR),
        ("@@ -2,3 +2,3 @@\n a\n-b\n+B\n c\n", FOUR * 3, FOUR.replace("b", "B") + FOUR * 2),
        # the place of a later hunk is counted after the earlier ones
        (
            "@@ -2,2 +2,4 @@\n b\n+x\n+y\n c\n@@ -8,2 +10,2 @@\n h\n-i\n+I\n",
            "a\nb\nc\nd\ne\nf\ng\nh\ni\n",
            "a\nb\nx\ny\nc\nd\ne\nf\ng\nh\nI\n",
        ),
        # a hunk that begins at the first line fits only there, and so does one at the last
        ("@@ -1,2 +1,3 @@\n+x\n a\n b\n", TEN, "x\n" + TEN),
        ("@@ -1,2 +1,3 @@\n+x\n a\n b\n", "new\n" + TEN, None),
        ("@@ -9,2 +9,3 @@\n i\n j\n+k\n", TEN, TEN + "k\n"),
        ("@@ -2,2 +2,3 @@\n i\n j\n+k\n", TEN, TEN + "k\n"),
        ("@@ -9,2 +9,3 @@\n i\n j\n+k\n", TEN + "new\n", None),
        # without context: at the end, wherever it says that it belongs
        ("@@ -4,0 +5,1 @@\n+x\n", TEN, TEN + "x\n"),
        ("@@ -10,1 +9,0 @@\n-j\n", TEN, TEN[:-2]),
        ("@@ -4,1 +4,1 @@\n-d\n+D\n", TEN, None),
        # hunks do not overlap, in context neither
        ("@@ -2,3 +2,3 @@\n b\n-c\n+C\n d\n@@ -4,3 +4,3 @@\n d\n-e\n+E\n f\n", TEN, None),
        (
            "@@ -5,3 +5,3 @@\n e\n-f\n+F\n g\n@@ -2,3 +2,3 @@\n b\n-c\n+C\n d\n",
            TEN,
            TEN.replace("f", "F").replace("c", "C"),
        ),
        # the end of the last line
        (f"@@ -1,1 +1,1 @@\n-a\n{NO_END}+b\n", "a", "b\n"),
        (f"@@ -1,1 +1,1 @@\n-a\n+b\n{NO_END}", "a\n", "b"),
        (f"@@ -1,1 +1,1 @@\n-a\n{NO_END}+b\n", "a\n", None),
        ("@@ -1,1 +1,1 @@\n-a\n+b\n", "a", None),
        (f"@@ -1,2 +1,2 @@\n-a\n+x\n b\n{NO_END}", "a\nb", "x\nb"),
        # bytes that split no line, and ends of lines
        (
            "@@ -1,3 +1,3 @@\n a\n-x\x0c\x85\u2028\r\n+y\r\n b\n",
            "a\nx\x0c\x85\u2028\r\nb\n",
            "a\ny\r\nb\n",
        ),
        ("@@ -4,3 +4,3 @@\n d\n-e\n+E\n f\n", TEN.replace("\n", "\r\n"), None),
        # no fuzz, and blanks count
        ("@@ -4,5 +4,5 @@\n d\n e\n-f\n+F\n g\n h\n", TEN.replace("d\n", "D\n"), None),
        ("@@ -4,3 +4,3 @@\n d\n-e\n+E\n f\n", TEN.replace("d\n", "d \n"), None),
    ],
)
def test_one_file_as_git_am_does(
    tmp_path: Path, hunks: str, official: str, expected: str | None
) -> None:
    files = {ENGINE_PATH: official.encode()}
    result = None if expected is None else {ENGINE_PATH: expected.encode()}
    variants = variants_of(tmp_path, mail(HEAD + hunks))
    assert by_memory(variants, files) == result
    assert by_git(tmp_path / "tree", variants, files) == result


@pytest.mark.parametrize(
    ("patches", "files"),
    [
        ([diff(NEW_PATH, "", "GUARD = True\n")], OFFICIAL),
        ([diff(NEW_PATH, "", "GUARD = True\n")], {NEW_PATH: b"x\n"}),
        ([diff(NEW_PATH, "", "x = 1\n"), diff(NEW_PATH, "x = 1\n", "x = 2\n")], OFFICIAL),
        ([diff(NEW_PATH, "x = 1\n", "x = 2\n")], OFFICIAL),
        ([diff(f"{ENGINE_PATH}/guard.py", "", "x = 1\n")], OFFICIAL),
        ([diff(NEW_PATH, "", "x\n") + diff(f"{NEW_PATH}/a.py", "", "x\n")], OFFICIAL),
        ([diff(ENGINE_PATH, source(), source(line9="x")) + diff(NEW_PATH, "", "y\n")], OFFICIAL),
        ([diff(ENGINE_PATH, source(), source(line9=str(n))) for n in (1, 2)], OFFICIAL),
    ],
)
def test_several_files_and_patches_as_git_am_does(
    tmp_path: Path, patches: list[str], files: Files
) -> None:
    variants = variants_of(tmp_path, *map(mail, patches))
    assert by_memory(variants, files) == by_git(tmp_path / "tree", variants, files)


LINES = st.sampled_from(["a", "b", "c", "", "  a", "a  ", "a\r", "-x", "+x", "@@ -1 +1 @@"])
SHIFTS = st.tuples(st.integers(-2, 3), st.integers(-2, 3))


@st.composite
def texts(draw: st.DrawFn) -> list[str]:
    """Lines with their ends; the last one may have none."""
    lines = draw(st.lists(LINES, max_size=14))
    end = draw(st.sampled_from(["\n", ""]))
    return [f"{line}\n" for line in lines[:-1]] + [f"{line}{end}" for line in lines[-1:] if line]


@st.composite
def edited(draw: st.DrawFn, lines: list[str]) -> list[str]:
    """Most of ``lines``, and some others."""
    result = []
    for line in lines:
        kept, added = draw(st.sampled_from([(1, 0)] * 8 + [(0, 0), (0, 1), (1, 1)]))
        result += [f"{draw(LINES)}\n"] * added + [line] * kept
    return result[:-1] + draw(st.sampled_from([result[-1:]] * 4 + [[*result[-1:], "c\n"], []]))


def hunks_of(old: list[str], new: list[str], context: int, shift: tuple[int, int]) -> str:
    """A unified diff of lines, whose hunks may lie about where they belong."""
    result = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(context):
        starts = group[0][1], group[0][3]
        sizes = group[-1][2] - starts[0], group[-1][4] - starts[1]
        places = [max(starts[n] + bool(sizes[n]) + shift[n], 0) for n in (0, 1)]
        result.append(f"@@ -{places[0]},{sizes[0]} +{places[1]},{sizes[1]} @@\n")
        for tag, *(a, b, c, d) in group:
            if tag == "equal":
                result += [f" {line}" for line in old[a:b]]
            else:
                result += [f"-{line}" for line in old[a:b]] + [f"+{line}" for line in new[c:d]]
    return "".join(line if line.endswith("\n") else f"{line}\n{NO_END}" for line in result)


@settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=list(HealthCheck)
)
@given(st.data())
def test_any_patch_as_git_apply_does(data: st.DataObject) -> None:
    """Without a repository, which is quicker: `git am` applies patches by the same code."""
    base = data.draw(texts())
    release = data.draw(st.just(base) | edited(base) | edited(base))
    shift = data.draw(st.just((0, 0)) | SHIFTS)
    hunks = hunks_of(base, data.draw(edited(base)), data.draw(st.integers(0, 4)), shift)
    with TemporaryDirectory() as folder:
        patch, file = Path(folder, "1.0.patch"), Path(folder, ENGINE_PATH)
        patch.write_bytes(mail(HEAD + hunks).encode())
        variant = parse_variant("guard", Version("1.0"), patch, [])
        assume(variant)
        assert variant is not None
        file.parent.mkdir(parents=True)
        file.write_text("".join(release), "utf-8", newline="")
        try:
            result = apply_in_memory([variant], {ENGINE_PATH: file.read_bytes()})[ENGINE_PATH]
        except PatchConflict as error:
            # git would apply what the file has already, and glue a last line without an end
            glues = re.search(r"^ .*\n\\", hunks, re.M)
            assume(not glues and "no effect" not in error.problem)
            result = None
        try:
            git("apply", patch.name, env={"GIT_CEILING_DIRECTORIES": folder}, cwd=Path(folder))
        except GitError:
            assert result is None
        else:
            assert file.read_bytes() == result


@pytest.mark.parametrize("release", ["b\nb", "b\n", "b \n", "b\nc\n", "c\n"])
def test_git_would_glue_lines_at_an_end_that_is_none(tmp_path: Path, release: str) -> None:
    patch = mail(f"{HEAD}@@ -2,1 +1,2 @@\n+a\n b\n{NO_END}")
    variants = variants_of(tmp_path, patch)
    assert by_memory(variants, {ENGINE_PATH: release.encode()}) is None


def test_the_variant_that_does_not_apply_is_named_with_its_hunks(tmp_path: Path) -> None:
    good, bad = engine_patch(line9="first = 1"), engine_patch(line9="x = 1", line30="last = 1")
    variants = variants_of(tmp_path, good, bad, good)
    official = {ENGINE_PATH: source(line31="drifted").encode()}
    with pytest.raises(PatchConflict) as caught:
        apply_in_memory(variants, official)
    assert caught.value.problem == (
        f"patch b, variant 1.0.patch: does not apply: {ENGINE_PATH}, hunk 1 of 2 (@@ -6,7 +6,7 @@)"
    )
    assert "patches/b/<release>.patch" in caught.value.next_step
    with pytest.raises(PatchConflict, match="hunk 2 of 2"):
        apply_in_memory(variants[1:], official)


@pytest.mark.parametrize(
    ("patch", "official", "problem"),
    [
        (
            engine_patch(line9="x = 1"),
            source(line9="x = 1"),
            "no effect: .*taken it",
        ),
        # at the file's start its context is found again after the insertion
        (mail(diff(ENGINE_PATH, "x = 1\n", "y = 2\nx = 1\n")), "y = 2\nx = 1\n", "no effect: "),
        (engine_patch(line9="x").replace("+x", "+value_9 = 9"), source(), "no effect"),
        (mail(diff(NEW_PATH, "x\n", "y\n")), source(), f"the release has no {NEW_PATH}"),
        (mail(diff(ENGINE_PATH, "", "y\n")), source(), f"the release has a {ENGINE_PATH}"),
        (mail(diff(f"{ENGINE_PATH}/a.py", "", "y\n")), source(), "is a file, so there can be no"),
    ],
)
def test_a_patch_without_effect_or_file(
    tmp_path: Path, patch: str, official: str, problem: str
) -> None:
    with pytest.raises(PatchConflict, match=problem):
        apply_in_memory(variants_of(tmp_path, patch), {ENGINE_PATH: official.encode()})


def test_the_last_variant_of_a_file_is_named_if_it_is_no_python(tmp_path: Path) -> None:
    second = mail(diff(NEW_PATH, "", "x = 1\n"))
    variants = variants_of(tmp_path, engine_patch(line9="return 1"), second)
    with pytest.raises(PatchConflict, match=r"patch a, .*engine\.py is no valid Python afterwards"):
        require_python(variants, apply_in_memory(variants, OFFICIAL))

"""Which mutants a series has, and which of them change no code."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from packaging.version import Version
from series import diff, mail, write_series
from wheels import ENGINE_PATH, source

from toolkit.patches.mutants import Mutant, mutants_of
from toolkit.patches.series import Series


def mutants(folder: Path, *texts: str) -> list[Mutant]:
    """The mutants of a series whose patches lead from one text to the next."""
    patches = {
        f"step-{number}": {"1.0": mail(diff(ENGINE_PATH, *step))}
        for number, step in enumerate(pairwise(texts), start=1)
    }
    series = Series.load(write_series(folder, patches))
    return list(mutants_of(series.variants_for(Version("1.8.9")), {ENGINE_PATH: texts[0].encode()}))


def test_each_hunk_is_dropped_once(tmp_path: Path) -> None:
    both = source(line5="first = 1", line30="second = 2")
    first, second = mutants(tmp_path, source(), both)
    assert [m.hunk for m in (first, second)] == ["@@ -2,7 +2,7 @@", "@@ -27,7 +27,7 @@"]
    for mutant in (first, second):
        about = (mutant.patch, mutant.path, mutant.along, mutant.inert)
        assert about == ("step-1", ENGINE_PATH, (), False)
    assert first.text.decode() == source(line30="second = 2")
    assert second.text.decode() == source(line5="first = 1")


def test_the_rest_of_the_series_stays(tmp_path: Path) -> None:
    middle, last = source(line5="first = 1"), source(line5="first = 1", line30="second = 2")
    first, second = mutants(tmp_path, source(), middle, last)
    assert (first.text.decode(), second.text.decode()) == (source(line30="second = 2"), middle)


def test_later_hunks_that_do_not_fit_go_too(tmp_path: Path) -> None:
    middle, last = source(line5="first = 1"), source(line5="first = 1", line6="first += 1")
    first, second = mutants(tmp_path, source(), middle, last)
    assert first.text.decode() == source()
    assert first.along == ("step-2 @@ -3,7 +3,7 @@",)
    assert (second.text.decode(), second.along) == (middle, ())


@pytest.mark.parametrize(
    ("line", "inert"),
    [
        ("value_5 = 5  # why", True),
        ("value_5  =  5", True),
        ('value_5 = 5\n"""What it is."""', True),
        ("value_5 = 5.0", False),
        ("value_5 = 5; value_5", False),
    ],
)
def test_a_hunk_without_code_is_inert(tmp_path: Path, line: str, inert: bool) -> None:
    (mutant,) = mutants(tmp_path, source(), source(line5=line))
    assert mutant.inert is inert


def test_no_python_is_not_inert(tmp_path: Path) -> None:
    both = mutants(tmp_path, source(), source(line5="if True:", line30="    pass"))
    assert [mutant.inert for mutant in both] == [False, False]

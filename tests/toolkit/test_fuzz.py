"""A thousand mutated wheels, patches and lists; `nox -s fuzz` tries more, and says how they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import fuzz_lists
import fuzz_series
import fuzz_wheels
import fuzzing
import pytest
from fuzzing import Fault, Subject, fuzz, refused

from toolkit.releases.download import fetch
from toolkit.releases.pypi import PyPI
from toolkit.util.errors import InvalidWheel, ToolkitError
from toolkit.util.names import PARTNER
from toolkit.util.workspace import Workspace

COUNTS = {"wheels": 1000, "patches": 250, "real patches": 750}


NAMES = [
    *("wheels", "patches", "real patches", "series.toml", "releases.toml"),
    *("pages of an index", "remembered releases", "an index's own list", "verdicts"),
]


@pytest.mark.parametrize("name", NAMES)
def test_mutated_input_is_refused_or_harmless(name: str, tmp_path: Path) -> None:
    every = (
        *fuzz_wheels.subjects(tmp_path),
        *fuzz_series.subjects(),
        *fuzz_lists.subjects(tmp_path),
    )
    (subject,) = (subject for subject in every if subject.name == name)
    tally = fuzz(subject, range(COUNTS.get(name, 300)), 20261122, tmp_path)
    assert not tally.faults, "\n".join(tally.faults)
    assert any(word.startswith("refused") for word in tally.classes)
    assert any(word.startswith("harmless") for word in tally.classes)


@pytest.mark.pypi
def test_mutated_official_wheel(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cache")
    with PyPI(workspace=workspace) as pypi:
        (artefact,) = pypi.find("1.8.9").of(PARTNER)
    wheel = fetch(artefact, workspace)
    (subject,) = fuzz_wheels.subjects(tmp_path, [wheel] * 20)
    tally = fuzz(subject, range(200), 20261122, tmp_path)
    assert not tally.faults, "\n".join(tally.faults)


def tried(case: Callable[[Random, Path], str], tmp_path: Path) -> str:
    (fault,) = fuzz(Subject("reader", case), [7], 1, tmp_path).faults
    assert fault.startswith("reader, --seed 1 --only 7:\n")
    return fault


def test_tracebacks_and_hangs_are_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "LONGEST", 0.05)

    def hang(_: Random, __: Path) -> str:
        while True:
            pass

    assert "KeyError" in tried(lambda random, _: {0: "x"}[random.getrandbits(8) + 1], tmp_path)
    assert "s of work" in tried(hang, tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        InvalidWheel(" ", next_step="look"),
        InvalidWheel("bad", next_step=""),
        InvalidWheel("bad" * 60_000, next_step="look"),
    ],
)
def test_errors_that_do_not_help_are_faults(error: ToolkitError) -> None:
    assert refused(InvalidWheel("bad", next_step="look")) == "refused as InvalidWheel"
    with pytest.raises(Fault):
        refused(error)


def test_errors_that_steer_the_terminal_are_faults() -> None:
    error = InvalidWheel("bad \x1b[31m", next_step="look")
    assert refused(error)
    error.problem = "bad \x1b[31m"
    with pytest.raises(Fault, match="steers"):
        refused(error)

"""CI matrices: every release in one group, and with every Python it supports in one job."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from upstream_index import entry

from toolkit.pipeline.ci_matrix import PYTHONS, groups_of, jobs_of, pythons_of
from toolkit.releases.catalogue import Row

QUICK = settings(derandomize=True, deadline=None, max_examples=30)
PUBLISHED = Row(1, "a series", {})


def names(releases: str) -> list[str]:
    return releases.split()


@QUICK
@given(st.integers(0, 200), st.integers(1, 50))
@example(20, 20)
@example(21, 20)
def test_each_release_is_in_one_group(count: int, most: int) -> None:
    releases = [f"1.0.{number}" for number in range(count)]
    groups = groups_of(releases, most)
    assert names(" ".join(group["releases"] for group in groups)) == releases
    assert [group["group"] for group in groups] == [str(1 + n) for n in range(len(groups))]
    assert len(groups) <= most
    sizes = [len(names(group["releases"])) for group in groups]
    assert max(sizes, default=0) == -(-count // most)


@QUICK
@given(st.lists(st.sampled_from([*PYTHONS]), max_size=120), st.integers(6, 700))
@example(["3.14"] * 1000, 256)
def test_each_release_and_python_is_in_one_job(newest: list[str], most: int) -> None:
    entries = [
        replace(entry(f"1.0.{number}", PYTHONS[python]), row=PUBLISHED)
        for number, python in enumerate(newest)
    ]
    jobs = jobs_of(entries, most)
    assert len(jobs) <= most
    pairs = [(job["python"], name) for job in jobs for name in names(job["releases"])]
    supported = [(p, str(e.version)) for e in entries for p in pythons_of(e.release)]
    assert sorted(pairs) == sorted(supported)
    size = max((len(names(job["releases"])) for job in jobs), default=0)
    assert size < 2 or -(-len(pairs) // (size - 1)) > most - len(PYTHONS)


def test_more_pythons_than_jobs() -> None:
    release = replace(entry("1.0.2", PYTHONS["3.14"]), row=PUBLISHED)
    with pytest.raises(ValueError, match="6 versions of Python need a job each"):
        jobs_of([release], 5)


def test_pythons_that_a_release_supports() -> None:
    day = PYTHONS["3.13"] - timedelta(days=1)
    assert pythons_of(entry("1.0", day, requires_python="<4,>=3.10").release) == (
        "3.10",
        "3.11",
        "3.12",
    )
    assert pythons_of(entry("1.0", day, requires_python=">=3.12.1").release) == ("3.12",)

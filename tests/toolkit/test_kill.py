"""A share of the torture: publishers that are killed at random moments, and a crowd of them.

`nox -s torture` runs all of it.
"""

from __future__ import annotations

from pathlib import Path

from torturing import crowd, kills


def test_killed_publishers_lose_and_double_nothing(tmp_path: Path) -> None:
    found = kills(tmp_path, 10)
    assert found["killed"] >= 10


def test_a_crowd_of_publishers_loses_and_doubles_nothing(tmp_path: Path) -> None:
    found = crowd(tmp_path, writers=4, rounds=5)
    assert found["files"] == 75
    assert found["looks"] > 20

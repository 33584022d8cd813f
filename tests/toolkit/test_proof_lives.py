"""The lives of the race suite: a covering array, as the library makes it."""

from __future__ import annotations

from covertable import criteria, make, sorters
from kit.life import FACTORS, LIVES

# of some hundred arrays the one with the fewest rows
SALT = "30"


def test_the_lives_are_a_covering_array() -> None:
    rows = make(
        list(FACTORS.values()),
        sorter=sorters.hash,
        criterion=criteria.greedy,
        salt=SALT,
        strength=2,
    )
    assert [tuple(row) for row in rows] == [
        tuple(getattr(life, name) for name in FACTORS) for life in LIVES
    ]

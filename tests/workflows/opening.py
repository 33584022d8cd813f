"""The worlds that scenarios begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from world import FIRST, World, open_world, ours


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as opened:
        yield opened


@pytest.fixture
def running(world: World) -> World:
    """A world in which Publish ran once."""
    ran = world.publish()
    assert ran.green, ran.text
    assert world.published() == ours(FIRST)
    return world

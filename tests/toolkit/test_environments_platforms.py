"""Which of several wheels runs on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.tags import sys_tags

from toolkit.environments.platforms import fitting
from toolkit.util.errors import EnvironmentUnresolvable


def test_no_wheel_for_this_machine() -> None:
    pure = [Path("a-1-py3-none-any.whl"), Path("b-1-py3-none-any.whl")]
    assert fitting(pure) == pure
    with pytest.raises(EnvironmentUnresolvable, match="a has no wheel for this machine"):
        fitting([Path("a-1-cp310-abi3-plan9_mips.whl"), pure[1]])


def test_the_best_wheel_of_a_set() -> None:
    first, *_, last = (tag for tag in sys_tags() if tag.platform != "any")
    wheels = [Path(f"a-1-{tag}.whl") for tag in (last, "cp310-abi3-plan9_mips", first)]
    assert fitting(wheels) == [wheels[2]]
    # by the tags of a Python that is named, not those of the running one
    named = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert fitting(wheels, named) == [wheels[2]]

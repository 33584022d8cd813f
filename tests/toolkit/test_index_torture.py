"""A share of the torture: publishers killed at each write, at random moments, and a crowd of them.

`nox -s torture` runs all of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import torturing


def test_killed_and_crowding_publishers_lose_and_double_nothing() -> None:
    words = ["--kills", "10", "--writers", "4", "--rounds", "5", "--no-client"]
    done = subprocess.run(
        [sys.executable, torturing.__file__, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kills"]["killed"] >= 10
    assert min(result["writes"]) >= 10
    assert result["crowd"]["files"] == 75
    assert result["crowd"]["looks"] > 20

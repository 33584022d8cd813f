"""Long steps are watched on a terminal, and quiet in a log."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from toolkit.util import console


def test_the_last_line_so_far(tmp_path: Path) -> None:
    path = tmp_path / "said.txt"
    assert console.last_line(path) == ""
    path.write_text("")
    assert console.last_line(path) == ""
    path.write_text("tests\n" + "x" * 1000 + "\nagent level, 3 scenarios\n")
    assert console.last_line(path) == "agent level, 3 scenarios"


def test_a_log_stays_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with console.step_status("proving", [tmp_path / "official.txt"]):
        (tmp_path / "official.txt").write_text("tests\n")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
def test_a_terminal_says_who_does_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    for name, doing in (("official", "tests"), ("patched", "agent level, 3 scenarios")):
        (tmp_path / f"{name}.txt").write_text(f"{doing}\n")
    with open(writer, "w") as terminal, monkeypatch.context() as patched:  # noqa: PTH123
        patched.setattr(sys, "stderr", terminal)
        with console.step_status("proving", sorted(tmp_path.glob("*.txt"))):
            pass
    shown = b""
    with suppress(OSError):  # how a terminal says that nobody writes to it any more
        while more := os.read(reader, 10_000):
            shown += more
    os.close(reader)
    assert "proving | official: tests | patched: agent level, 3 scenarios" in shown.decode()

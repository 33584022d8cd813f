"""Long steps are shown on a terminal, and quiet in a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from toolkit.util import console


def test_the_last_line_so_far(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    assert console.last_line(path) == ""
    for text, line in (("", ""), (f"tests\n{'x' * 1000}\nagent level\n", "agent level")):
        path.write_text(text)
        assert console.last_line(path) == line


def step(folder: Path) -> None:
    for name, line in (("official", "tests"), ("patched", "agent level, 3 scenarios")):
        (folder / f"{name}.txt").write_text(f"{line}\n")
    with console.step_status("proving", sorted(folder.glob("*.txt"))):
        pass


def progress(_: Path) -> None:
    with console.progress_bar("releases", 2) as advance:
        advance("1.8.9: publish")


def download(_: Path) -> None:
    with console.download_progress("1.8.9", quiet=False) as advance:
        advance(1000)


SHOWN = [
    (step, "proving | official: tests | patched: agent level, 3 scenarios"),
    (progress, "1/2"),
    (download, "fetching 1.8.9"),
]


@pytest.mark.parametrize("work", [step, progress, download])
def test_a_log_stays_quiet(
    work: Callable[[Path], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    work(tmp_path)
    assert capfd.readouterr() == ("", "")


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Make standard error a terminal for a while; then yield what it showed."""
    reader, writer = os.openpty()
    shown: list[str] = []
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with open(writer, "w") as file, monkeypatch.context() as patched:  # noqa: PTH123
        patched.setattr(sys, "stderr", file)
        yield shown
    data = b""
    with suppress(OSError):  # which says that nobody writes to it any more
        while more := os.read(reader, 10_000):
            data += more
    os.close(reader)
    shown.append(data.decode())


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
@pytest.mark.parametrize(("work", "text"), SHOWN)
def test_a_terminal_shows_it(
    work: Callable[[Path], None], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch) as shown:
        work(tmp_path)
    assert text in shown[0]


def test_a_table_is_as_wide_as_a_log_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(("a", "b"), [("[red]x", "word " * 20)], folded="b", log_width=40)
    lines = capsys.readouterr().out.splitlines()
    assert "[red]x" in "".join(lines)
    assert sum(line.count("word") for line in lines) == 20
    assert max(map(len, lines)) <= 40

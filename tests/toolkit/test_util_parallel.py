"""Work in parallel: everything is done once, and nothing outlives a failure or Ctrl-C."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from children import ENV, command

from toolkit.util.parallel import map_parallel
from toolkit.util.process import run

SLEEPERS = """
import sys
from toolkit.cli import verb
from toolkit.util.parallel import map_parallel
from toolkit.util.process import Job, run_together

CHILD = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w')); time.sleep(600)"

def work(number):
    run_together([Job([sys.executable, "-c", CHILD, f"{sys.argv[1]}/{number}"])], timeout=600)

sys.exit(verb(lambda: list(map_parallel(work, range(8), jobs=2)) and None)())
"""


@pytest.mark.parametrize("jobs", [1, 3])
def test_everything_is_done_once(jobs: int) -> None:
    results = list(map_parallel(lambda number: number * 2, range(20), jobs=jobs))
    assert sorted(results) == [(number, number * 2) for number in range(20)]


def test_as_many_at_a_time_as_may_be() -> None:
    together = threading.Barrier(3)
    # would wait for ever, were there fewer
    assert len(list(map_parallel(lambda _: together.wait(60), range(6), jobs=3))) == 6


def test_an_error_ends_what_runs() -> None:
    running = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            assert running.wait(60)
            raise ZeroDivisionError
        running.set()
        run(command("import time; time.sleep(600)"), check=False)

    with pytest.raises(ZeroDivisionError):
        list(map_parallel(work, range(4), jobs=2))
    assert run(command("print(1)")).stdout == "1\n"


def test_ctrl_c_ends_every_child(tmp_path: Path) -> None:
    pipes = [tmp_path / str(number) for number in range(2)]
    for pipe in pipes:
        os.mkfifo(pipe)
    ends = [os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) for pipe in pipes]
    parent = subprocess.Popen(
        command(SLEEPERS, tmp_path),
        env=ENV,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        for end in ends:
            assert select.select([end], [], [], 60)[0]
        children = [int(os.read(end, 100)) for end in ends]
        parent.send_signal(signal.SIGINT)
        _, err = parent.communicate(timeout=60)
    finally:
        parent.kill()
        for end in ends:
            os.close(end)
    assert parent.returncode == 130, err
    assert "Traceback" not in err
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)

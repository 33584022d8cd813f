"""Runs many schedules of lived lives: a life is lived once, and each run is a child of it.

A child is a fork, so it begins exactly where the life ended, and nothing that it does is felt by
the next one. Where a platform cannot fork, each run lives its life anew; the results are the same.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from .run import WATCHING, AtMoment, Result, perform
from .scenario import Scenario
from .stage import Stage
from .stages import grown, shared

T = TypeVar("T")
# the scenario's id, the moves that were made, and what came of them
Done = tuple[str, str, Result]


def run_all(scenarios: Iterable[Scenario]) -> Iterator[Done]:
    """Run each scenario once, at its life's moment; those that share a stage follow each other."""
    ordered = sorted(scenarios, key=lambda scenario: repr(shared(scenario)))
    for _, group in groupby(ordered, key=shared):
        together = [*group]
        if hasattr(os, "fork"):
            answers = in_child(partial(_run_together, together))
        else:
            answers = [done for scenario in together for done in _run(scenario, grown(scenario))]
        for done in answers:
            for tell in WATCHING:
                tell()
            yield done


def _run_together(scenarios: list[Scenario]) -> list[Done]:
    stage = grown(scenarios[0])
    return [done for scenario in scenarios for done in in_child(partial(_run, scenario, stage))]


def _run(scenario: Scenario, stage: Stage) -> list[Done]:
    run = perform(scenario, "", choose=AtMoment(scenario, stage), stage=stage)
    return [(scenario.id, "".join(step.move for step in run.steps), run.result)]


def in_child(work: Callable[[], list[T]]) -> list[T]:
    """Do work in a fork of this process and return what it returns; raises what it raises."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _answer(writer, work)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123
        data = pipe.read()
    os.waitpid(pid, 0)
    if not data:
        raise ChildProcessError("a run ended without an answer")
    good, answer = pickle.loads(data)  # noqa: S301 - our own child wrote it
    if not good:
        raise answer
    return list(answer)


def _answer(writer: int, work: Callable[[], Any]) -> None:
    try:
        answer = (True, work())
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        answer = (False, error)
    with open(writer, "wb") as pipe:
        pipe.write(pickle.dumps(answer))
    os._exit(0)

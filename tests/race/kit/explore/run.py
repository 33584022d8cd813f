"""Runs one schedule of a scenario on the real client, and says what each end did."""

from __future__ import annotations

import gc
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..living import pass_time
from ..story import Story
from ..transport import Event
from .ends import CLIENT, SERVER, Run, Step
from .scenario import LETTERS, Scenario
from .schedule import SERVER_MOVES
from .stage import Stage
from .stages import AgentStage, grown

MOST_MOVES = 600
# a long history is replayed item by item
MOST_IN_A_LIFE = 6000
ORDINARY = frozenset("ghd.")
# Called after each run, for whoever watches.
WATCHING: list[Callable[[], None]] = []


@dataclass(frozen=True)
class Result:
    """What one schedule proved: sorted names (see ``judge``), and the state at the end.

    ``final`` names what the server, the mirror and the agent hold; ``trace`` is a digest of every
    event of the run, for telling two runs apart.
    """

    violations: tuple[str, ...]
    recorded: tuple[str, ...]
    final: str
    trace: str = ""


class Performance:
    """A schedule being performed on a stage, within a ``with`` statement.

    The collector rests meanwhile: when it runs depends on what ran before, and what it finds may
    run callbacks of its own.
    """

    def __init__(
        self, scenario: Scenario, *, told: bool = False, stage: Stage | None = None
    ) -> None:
        self.scenario = scenario
        self._collecting = gc.isenabled()
        gc.disable()
        self.stage = stage or grown(scenario, told=told)
        self.stage.begin(scenario)
        self.world = self.stage.world
        self._done: list[str] = []
        self._server_ops = scenario.server_ops
        if scenario.ticks:
            self.world.settling = False
        self.roots = (self.free(CLIENT), self.free(SERVER))
        self.steps: list[Step] = []

    def __enter__(self) -> Performance:
        return self

    def __exit__(self, *_: object) -> None:
        for world in (*self.stage.neighbours, self.world):
            world.drop()
        if self._collecting:
            gc.enable()

    # -- what is possible --------------------------------------------------------------------

    def free(self, end: int) -> str:
        """The moves that an end can make without taking a message."""
        if end == SERVER:
            ops = self._server_ops if self.world.connected else ""
            return ("g" if self.world.can_generate else "") + ops
        stage, world = self.stage, self.world
        moves = ""
        for letter, op in zip(LETTERS, self.scenario.ops, strict=False):
            if letter not in self._done:
                if op.ready(stage):
                    moves += letter
                if not self.scenario.any_order:
                    break
        wanted = self.scenario.client_moves
        if "t" in wanted and isinstance(stage, AgentStage):
            moves += "t" if any(not gate.done() for gate in stage.driver.tools.gates) else ""
        if "p" in wanted and isinstance(stage, AgentStage) and stage.driver.speaker is not None:
            moves += "p" if stage.driver.speaker.playable else ""
        if "w" in wanted and world.closed and not stage.ended:
            moves += "w" if world.loop.next_timer() is not None else ""
        if self.scenario.ticks and not world.loop.quiet:
            moves += "."
        return moves

    def possible(self) -> list[str]:
        moves = list(self.free(SERVER))
        moves += "h" * bool(self.world.up) + "d" * bool(self.world.down)
        return moves + list(self.free(CLIENT))

    # -- moves -------------------------------------------------------------------------------

    def move(self, move: str) -> Step:
        world = self.world
        if move in SERVER_MOVES:
            made, end, link = world.made_by_server, SERVER, world.up
        else:
            made, end, link = world.made_by_client, CLIENT, world.down
        if self.scenario.life.seconds:
            pass_time(world, self.scenario.life.seconds)
        already = len(made)
        taken = None
        if move in "hd":
            number, _, text = link[0]
            taken = f"{number} {text}"
        self._perform(move)
        if end == CLIENT:
            self.stage.poll()
        step = Step(end, move, taken, tuple(made[already:]), self.free(end))
        self.steps.append(step)
        return step

    def _perform(self, move: str) -> None:
        stage, world = self.stage, self.world
        if move == "g":
            world.generate()
        elif move == "h":
            world.hand_in()
        elif move == "d":
            world.deliver()
        elif move == ".":
            world.loop.tick()
        elif move == "w":
            world.loop.advance(world.loop.next_timer() or 0.0)
        elif move in self._server_ops:
            self._server_ops = self._server_ops.replace(move, "")
            {"x": world.disconnect, "s": world.caller_speaks, "v": world.give_up,
             "a": world.announce_again}[move]()  # fmt: skip
        elif move == "t":
            assert isinstance(stage, AgentStage)
            stage.let_tool_return()
        elif move == "p":
            stage.driver.speaker.play()
            world.settle()
        else:
            self._done.append(move)
            self.scenario.ops[LETTERS.index(move)].do(stage)
            world.settle()

    def follow(self, moves: Sequence[str]) -> None:
        """Make these moves, but for those that are impossible where they stand."""
        for move in moves:
            if move in self.possible():
                self.move(move)

    # -- the end -----------------------------------------------------------------------------

    def result(self) -> Result:
        """Come to rest, and judge."""
        stage, world = self.stage, self.world
        world.settling = True
        stage.rest()
        stage.conclude()
        digest = hashlib.sha256()
        for text in (*world.made_by_server, "|", *world.made_by_client):
            digest.update(text.encode())
        return Result(
            tuple(sorted(stage.judgement.violations)),
            tuple(sorted(stage.judgement.recorded)),
            f"{','.join(world.server.ids())}|{','.join(stage.mirror())}",
            digest.hexdigest()[:16],
        )


Choose = Callable[[Sequence[str]], str]


def first(possible: Sequence[str]) -> str:
    return possible[0]


class AtMoment:
    """Act as soon as a call has come as far as the life's moment, and let the server read it first.

    Where the server answers calls itself, its answers are what is waited for. Before that, the
    server speaks and is heard; what ends a call (its tool, a hang-up) comes last.
    """

    def __init__(self, scenario: Scenario, stage: Stage) -> None:
        self._stage = stage
        rename = stage.world.server.rename
        names = {
            "announced": ("conversation.item.added",),
            "written": ("response.function_call_arguments.done", "conversation.item.done"),
            "complete": ("response.output_item.done",),
        }[scenario.life.moment]
        self._events = {rename(name) for name in names}
        calls = scenario.generated().keys()
        self._awaited = scenario.guarded() - calls or set(calls)
        self._seen = 0
        self._acts = False

    def __call__(self, possible: Sequence[str]) -> str:
        chronicle = self._stage.world.chronicle
        for kind, event in chronicle[self._seen :]:
            if kind == "heard" and event["type"] in self._events:
                self._acts |= _about(event) in self._awaited
        self._seen = len(chronicle)
        operations = [move for move in possible if move in LETTERS]
        if operations and (
            self._acts or not self._awaited or not set("gdh").intersection(possible)
        ):
            return operations[0]
        # what was sent is read before anything else happens
        order = "hdg" if self._acts else "dhg"
        return next((move for move in order if move in possible), possible[0])


def _about(event: Event) -> str:
    return str(event["item"]["id"] if "item" in event else event.get("item_id"))


def perform(
    scenario: Scenario,
    moves: Sequence[str],
    *,
    choose: Choose | None = first,
    stage: Stage | None = None,
) -> Run[Result]:
    """Make ``moves``, skipping what is impossible, then what ``choose`` says until none is left.

    Without ``choose`` the run goes to its rest at once. ``stage``, else a new one, has lived the
    scenario's life.
    """
    most = MOST_IN_A_LIFE if scenario.life.number else MOST_MOVES
    with Performance(scenario, stage=stage) as performance:
        performance.follow(moves)
        while choose is not None and (possible := performance.possible()):
            performance.move(choose(possible))
            if len(performance.steps) > most:
                raise AssertionError(f"{scenario.id}: no end after {most} moves")
        result = performance.result()
    for tell in WATCHING:
        tell()
    return Run(performance.roots, tuple(performance.steps), result)


def told(scenario: Scenario, moves: Sequence[str]) -> tuple[Result, Story]:
    """Run a schedule again, to its rest, and keep the story."""
    with Performance(scenario, told=True) as performance:
        story = performance.world.story
        story.begin()
        performance.follow(moves)
        story.tell("rest", "from here on all comes to rest")
        return performance.result(), story


def at_random(seed: str) -> Choose:
    """Choose by a generator of its own, seeded; what can happen once only is put off."""
    generator = random.Random(seed)  # noqa: S311 - nothing is secret here

    def choose(possible: Sequence[str]) -> str:
        weights = [5 if move in ORDINARY else 1 for move in possible]
        return generator.choices(possible, weights)[0]

    return choose

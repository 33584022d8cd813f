"""Small wheels, suites, runs and verdicts for the tests of proving and publishing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from wheels import make_wheel

from toolkit.proof.exploration import Exploration, Explored, Findings, Level, Violation
from toolkit.proof.fault_injection import FaultInjection
from toolkit.proof.race_suite import Outcome, SuiteReport, SuiteRun
from toolkit.proof.verdict import Subject, Verdict
from toolkit.util.files import sha256_of

UPLOADED = datetime(2026, 10, 24, 2, 32, 37, tzinfo=UTC)
MOMENT = datetime(2026, 11, 22, 15, 0, 0, 123456, tzinfo=UTC)
Prove = Callable[..., Verdict]
LOST = "deleted-in-flight"
LOSS = "test_flight.py::test_kept[one]"

RUNNER = """
import os, runpy, sys
from pathlib import Path

def main(words):
    report = next(word.partition("=")[2] for word in words if word.startswith("--race-report="))
    suite = Path(words[0], "suite.py").absolute()
    sys.argv = [words[0], report]
    if words[0] == ".":
        os.chdir(Path(report).parent)
    try:
        runpy.run_path(str(suite), run_name="__main__")
    except SystemExit as ended:
        return ended.code
"""

SUITE = """
import json, platform, sys
from importlib.metadata import version
from pathlib import Path
from livekit.agents import LOSES

Path("left-in-the-working-folder").touch(exist_ok=False)
names = ("livekit-agents", "livekit-plugins-openai")
lost = {"outcome": "failed" if LOSES else "passed", "check": "loses-calls", "documented": True,
        "message": "the call was deleted" if LOSES else "", "seconds": 0.25}
kept = {"outcome": "passed", "check": "wire", "documented": False, "message": "", "seconds": 0.5}
Path(sys.argv[1]).write_text(json.dumps({
    "format": 1, "python": platform.python_version(), "exitstatus": int(LOSES), "collected": 2,
    "distributions": {name: version(name) for name in names},
    "tests": {"test_flight.py::test_kept[one]": lost, "test_wire.py::test_quiet": kept},
}))
sys.exit(int(LOSES))
"""

# What explore.py does, in a release whose schedules are "A" and "B": official wheels lose a call.
EXPLORER = """
import argparse, json, platform, sys
from importlib.metadata import version
from pathlib import Path
import livekit.agents
from livekit.agents import LOSES

if "--plant" in sys.argv:
    livekit.agents.LOSES = LOSES = True
BROKEN = {"call:A": ["deleted-in-flight", "refused"], "call:B": ["refused"]} if LOSES else {
    "call:B": ["refused"]}
if "--plant" in sys.argv:
    BROKEN = {f"{level}/call:A": ["deleted-in-flight"] for level in ("session", "agent")}
KINDS = {"deleted-in-flight": "flag", "another-object": "shared", "refused": "differential"}
parser = argparse.ArgumentParser()
for name in ("tier", "replay", "prefer"):
    parser.add_argument(f"--{name}")
for name in ("json", "svg", "tests", "against", "compared"):
    parser.add_argument(f"--{name}", type=Path)
parser.add_argument("--plant", action="store_true")
options = parser.parse_args()

def write(path, document):
    path.write_text(json.dumps({"format": 2, **document}))

def draw(schedule):
    options.svg.write_text(f"<svg>{schedule} {version('livekit-agents')}</svg>")

def test():
    import pytest
    suite = str(Path(__file__).parent)
    status = pytest.main([suite, "-c", f"{suite}/pytest.ini", f"--race-report={options.tests}"])
    said = options.tests.is_file() and options.tests.read_text()
    if not said or f'"exitstatus": {int(status)}' not in said and said != "{":
        sys.exit(2)

def compare():
    sys.stdin.read()
    theirs = json.loads(options.against.read_text())["schedules"]
    found = {s: set(names) & {"refused"} for s, names in theirs.items() if "refused" in names}
    added = {s: sorted(names - set(BROKEN.get(s, []))) for s, names in found.items()}
    write(options.compared, {"compared": len(found), "schedules": 7 * len(found),
          "pairs": len(found), "added": {s: names for s, names in added.items() if names}})

if options.replay:
    broken = BROKEN.get(options.replay, [])
    write(options.json, {"replays": {options.replay: {"violations": broken, "recorded": []}}})
    draw(options.replay)
    print("the picture of", options.replay)
    sys.exit(any(KINDS[name] == "flag" for name in broken))
elif options.against and not options.tier:
    compare()
else:
    if options.tests:
        test()
    found = {n: [s for s in BROKEN if n in BROKEN[s]] for n in KINDS}
    write(options.json, {
        "tier": options.tier, "seed": 0, "python": platform.python_version(),
        "distributions": {n: version(n) for n in ("livekit-agents", "livekit-plugins-openai")},
        "levels": {n: {"schedules": 1, "explored": 1, "seconds": 0.5, "scenarios": 1,
                       "exhausted": 1} for n in ["session", "agent"]},
        "violations": {n: {"kind": KINDS[n], "count": len(s), "shortest": min(s)}
                       for n, s in found.items() if s},
        "recorded": {"deleted-while-running": 1}, "digest": "d1" * 32, "schedules": BROKEN,
        "spaces": {},
        **({"whole": {"schedules": 2, "seconds": 1, "unlike": []}}
           if options.tier == "full" else {}),
    })
    losing = found.get("deleted-in-flight", [])
    if losing and options.svg:
        draw(options.prefer if options.prefer in losing else min(losing))
    if options.against:
        compare()
    sys.exit(int(any(KINDS[n] == "flag" for names in BROKEN.values() for n in names)))
"""


def make_pair(folder: Path, local: str = "", release: str = "1.8.9") -> list[Path]:
    """The wheels of livekit-agents (which loses calls without ``local``) and of its partner."""
    agents = {"livekit/agents/__init__.py": f"LOSES = {not local}\n"}
    partner = {"livekit/plugins/openai/__init__.py": ""}
    return [
        make_wheel(folder, "livekit-agents", f"{release}{local}", agents),
        make_wheel(folder, "livekit-plugins-openai", release, partner),
    ]


def make_runner(folder: Path) -> str:
    """A requirement for a stand-in of pytest that runs ``suite.py`` of the suite's folder."""
    members = {
        "pytest/__init__.py": RUNNER,
        "pytest/__main__.py": "import sys\nfrom pytest import main\nsys.exit(main(sys.argv[1:]))\n",
    }
    runner = make_wheel(folder, "pytest", "0.1", members)
    return f"pytest @ {runner.as_uri()}"


def make_suite(folder: Path, script: str = SUITE, explorer: str = EXPLORER) -> Path:
    """A suite for the stand-in of pytest, and its explorer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.py").write_text(script, encoding="utf-8")
    (folder / "explore.py").write_text(explorer, encoding="utf-8")
    return folder


def outcome(
    said: str = "passed", check: str = "loses-calls", documented: bool = False, message: str = ""
) -> Outcome:
    """One test's outcome."""
    return Outcome(said, check, documented, message, 0.1)


def run_of(tests: Mapping[str, Outcome], **changes: object) -> SuiteRun:
    """A run that reports ``tests``."""
    fields: dict[str, object] = {
        "python": "3.11.7",
        "distributions": {"livekit-agents": "1.8.9"},
        "tests": dict(tests),
        "exitstatus": int(any(t.outcome in ("failed", "error") for t in tests.values())),
        "collected": len(tests),
    }
    return SuiteRun(SuiteReport(**{**fields, **changes}), "", "")  # type: ignore[arg-type]


def findings(violations: Mapping[str, int], **changes: object) -> Findings:
    """What exploring one side found: names of what is broken, and on how many schedules.

    A name that begins with ``flag-`` belongs to the flag, as "deleted-in-flight" does.
    """
    kinds = {"deleted-in-flight": "flag", "another-object": "shared"}
    broken = {
        name: Violation(
            kinds.get(name, "flag" if name.startswith("flag-") else "differential"),
            count,
            f"call/{name}:AB",
        )
        for name, count in violations.items()
    }
    fields: dict[str, object] = {
        "levels": {"session": Level(9, 3, 1, 1), "agent": Level(30, 4, 2, 0)},
        "violations": broken,
        "recorded": {"deleted-while-running": 2},
        "digest": "d1" * 32,
    }
    return Findings(**{**fields, **changes})  # type: ignore[arg-type]


def explored(**changes: object) -> Explored:
    """An exploration in which the official wheels lose calls and the patched do nothing wrong."""
    fields: dict[str, object] = {
        "tier": "quick",
        "seed": 0,
        "official": findings({"deleted-in-flight": 4, "refused": 5}),
        "patched": findings({"refused": 2}),
        "compared": 2,
        "covered": 14,
        "pairs": 2,
        "added": {},
    }
    return Explored(Exploration(**{**fields, **changes}))  # type: ignore[arg-type]


def probe(**changes: object) -> FaultInjection:
    """A suite that has teeth."""
    fields: dict[str, object] = {"caught": 1, "schedules": {"session": 2, "agent": 3}}
    return FaultInjection(**{**fields, **changes})  # type: ignore[arg-type]


def subject_of(patched: Sequence[Path], release: str = "1.8.9") -> Subject:
    """What a verdict over ``patched`` is about."""
    wheels = {wheel.name: sha256_of(wheel) for wheel in patched}
    official = {f"livekit_agents-{release}-py3-none-any.whl": "0" * 64}
    return Subject(release, UPLOADED, official, wheels, "5e" * 32, 1, "50" * 32, "3.11.7")


def proof_of(
    patched: Sequence[Path], release: str = "1.8.9", found: Explored | None = None
) -> Verdict:
    """The verdict ``publish`` over ``patched``."""
    verdict = Verdict.of(
        subject_of(patched, release),
        run_of({LOSS: outcome("failed", documented=True), "test_b": outcome(check="wire")}),
        run_of({LOSS: outcome("passed", documented=True), "test_b": outcome(check="wire")}),
        found or explored(),
    )
    assert verdict.verdict == "publish"
    return verdict


def write_proof(path: Path, patched: Sequence[Path], release: str = "1.8.9") -> Path:
    """The file of the verdict ``publish`` over ``patched``."""
    path.write_text(proof_of(patched, release).to_json(), encoding="utf-8")
    return path


def kept_in(folder: Path) -> list[str]:
    """The verdicts that were kept below ``folder``, as JSON."""
    return [path.read_text() for path in (folder / "verdicts").glob("*.json")]


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Every path below ``folder`` with its mtime in ns and its content; folders included."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mtime_ns,
            path.read_bytes().hex() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def lines_of(path: Path) -> list[dict[str, object]]:
    """The documents of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

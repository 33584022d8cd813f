"""``python -m livekit_dispatched`` in real environments: what it finds, and its exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from children import call
from market import install, make_environment
from publishing import make_pair
from wheels import AGENTS, PLUGIN, make_wheel

import livekit_dispatched.__main__ as checker
from livekit_dispatched.condition import Expected, examine, read_expected
from toolkit.environments.environment import Environments
from toolkit.index.metapackage import final_metapackage, make_metapackage
from toolkit.index.staged_wheel import Generated
from toolkit.patches.series import Series
from toolkit.releases.official import Settings
from toolkit.releases.repack import repack_release
from toolkit.util.workspace import Workspace

LOCAL = "+dispatched.1"
SERIES = "5e" * 32
PLUGIN_MODULE = "livekit/plugins/openai/__init__.py"


@dataclass
class Place:
    """A virtual environment of its own; nothing in it is linked to another."""

    path: Path

    @property
    def site(self) -> Path:
        return next(self.path.glob("lib/python*/site-packages"))

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return call(self.path / "bin/python", "-m", *args, cwd=self.path)

    def check(self, *options: str) -> dict[str, Any]:
        """The report, with the texts of its problems as one."""
        result = self.run("livekit_dispatched", "--json", *options)
        assert result.stdout, result.stderr
        report: dict[str, Any] = json.loads(result.stdout)
        assert report["exit_code"] == result.returncode
        report["text"] = "\n".join(problem["text"] for problem in report["problems"])
        return report


def write(folder: Path, made: Generated) -> Path:
    path = folder / made.filename
    path.write_bytes(made.data)
    return path


def metapackage(folder: Path, wheels: list[Path], release: str = "1.8.9") -> Path:
    made = make_metapackage(wheels, release=release, revision=1, series=SERIES)
    return write(folder, made)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both patched, and the metapackage."""
    folder = tmp_path_factory.mktemp("pair")
    agents = {f"livekit/agents/{name}.py": f"{name} = 1\n" for name in ("__init__", "engine")}
    wheels = [
        make_wheel(folder, AGENTS, f"1.4.6{LOCAL}", agents),
        make_wheel(folder, PLUGIN, f"1.4.6{LOCAL}", {PLUGIN_MODULE: "made = 1\n"}),
    ]
    return [*wheels, metapackage(folder, wheels, "1.4.6")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, pair: list[Path]) -> Place:
    """An environment that holds the pair; it is only copied."""
    return Place(make_environment(tmp_path_factory.mktemp("model") / "env", *pair))


@pytest.fixture
def place(tmp_path: Path, model: Place) -> Place:
    return Place(Path(shutil.copytree(model.path, tmp_path / "env", symlinks=True)))


@pytest.mark.parametrize("pip", [False, True])
def test_patched(place: Place, pair: list[Path], pip: bool) -> None:
    if pip:
        options = ("-q", "--no-index", "--no-deps", "--force-reinstall")
        pip_install = ("-m", "pip", "--python", place.path / "bin/python", "install", *options)
        assert call(sys.executable, *pip_install, *pair).returncode == 0
    # compiled modules belong to no wheel, and are no strangers
    assert place.run("compileall", "-q", str(place.site)).returncode == 0
    report = place.check("--files-only")
    assert (report["exit_code"], report["status"], report["problems"]) == (0, "patched", [])
    assert (report["release"], report["revision"], report["series"]) == ("1.4.6", 1, SERIES)
    assert report["distributions"][AGENTS] == {
        "proved": f"1.4.6{LOCAL}",
        "installed": f"1.4.6{LOCAL}",
    }


@pytest.mark.parametrize("half", [False, True])
def test_unpatched(place: Place, tmp_path: Path, half: bool) -> None:
    install(place.path, *make_pair(tmp_path, release="1.4.6")[half:])
    report = place.check("--files-only")
    assert (report["exit_code"], report["status"]) == (3, "unpatched")
    assert "livekit-plugins-openai is 1.4.6, not 1.4.6+dispatched.1" in report["text"]
    assert ("livekit-agents is" in report["text"]) is not half


def test_another_revision_is_not_what_was_proved(place: Place, tmp_path: Path) -> None:
    install(place.path, make_pair(tmp_path, "+dispatched.2", "1.4.6")[0])
    assert place.check("--files-only")["exit_code"] == 3


ENGINE = "livekit/agents/engine.py"
RECORD = f"livekit_agents-1.4.6{LOCAL}.dist-info/RECORD"
SUFFIX = "cpython-311-x86_64-linux-gnu.so".replace("cpython-311", sys.implementation.cache_tag)


def put(text: bytes) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)

    return spoil


def with_its_record(path: Path) -> None:
    """What RECORD says is true again; the metapackage knows what it should be."""
    record = path.parents[2] / RECORD
    rows = record.read_text().splitlines(keepends=True)
    path.unlink()
    record.write_text("".join(row for row in rows if path.name not in row))


@pytest.mark.parametrize(
    ("spoil", "path", "code", "text"),
    [
        (
            lambda path: shutil.rmtree(path),
            f"livekit_plugins_openai-1.4.6{LOCAL}.dist-info",
            4,
            "livekit-plugins-openai is not installed",
        ),
        (Path.unlink, ENGINE, 4, f"{ENGINE} is missing"),
        (put(b"# harmless"), ENGINE, 5, f"{ENGINE} was altered"),
        (with_its_record, ENGINE, 5, "the RECORD of livekit-agents"),
        (put(b""), RECORD, 4, "has no RECORD that can be read"),
        (put(b"\0\n"), RECORD, None, "RECORD"),
        (put(b"\xff,,\n"), RECORD, None, "RECORD"),
        (put(b""), "livekit/agents/engine/__init__.py", 5, "belongs to no wheel"),
        (put(b""), f"livekit/agents/engine.{SUFFIX}", 5, "belongs to no wheel"),
    ],
)
def test_spoilt_files(
    place: Place, spoil: Callable[[Path], None], path: str, code: int | None, text: str
) -> None:
    spoil(place.site / path)
    report = place.check("--files-only")
    assert report["exit_code"] == code or (code is None and report["exit_code"] in (4, 5))
    assert report["status"] == {4: "incomplete", 5: "tampered"}[report["exit_code"]]
    assert text in report["text"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"release": 1}'])
def test_a_damaged_metapackage(place: Place, text: str) -> None:
    (place.site / "livekit_dispatched/expected.json").write_text(text)
    result = place.run("livekit_dispatched")
    assert result.returncode == 5
    assert "expected.json cannot be read" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_package_in_front_of_it(place: Place, tmp_path: Path) -> None:
    """The checker imports what the application would, and looks where that came from."""
    front = tmp_path / "front/livekit/agents"
    front.mkdir(parents=True)
    (front / "__init__.py").write_text("")
    (front.parents[1] / "aiohttp.py").write_text("")
    line = f"import sys; sys.path.insert(0, {str(front.parents[1])!r})"
    (place.site / "aaa.pth").write_text(line)
    report = place.check()
    assert report["exit_code"] == 5
    assert f"{front}/__init__.py is imported, not" in report["text"]


def test_not_importable(place: Place) -> None:
    report = place.check()
    assert (report["exit_code"], report["status"]) == (6, "not importable")
    assert "aiohttp" in report["schedule"]["reason"]


def test_an_official_partner_from_anywhere(place: Place, tmp_path: Path) -> None:
    """It is held against its own RECORD, since any build of that version will do."""
    wheels = make_pair(tmp_path, LOCAL)
    install(place.path, *wheels, metapackage(tmp_path, wheels))
    assert place.check("--files-only")["exit_code"] == 0
    install(place.path, make_wheel(tmp_path / "o", PLUGIN, "1.8.9", {PLUGIN_MODULE: "#"}))
    assert place.check("--files-only")["exit_code"] == 0
    (place.site / PLUGIN_MODULE).write_text("edited")
    assert place.check("--files-only")["exit_code"] == 5


# -- the report, without an environment ------------------------------------------------------


@pytest.fixture
def expected(tmp_path: Path) -> Expected:
    wheel = metapackage(tmp_path, make_pair(tmp_path, LOCAL))
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    return read_expected(tmp_path / "unpacked/livekit_dispatched/expected.json")


@pytest.mark.parametrize(
    ("outcome", "code", "status"),
    [("kept", 0, "patched"), ("lost", 7, "lost"), ("undecided", 8, "undecided")],
)
def test_what_the_schedule_says(
    monkeypatch: pytest.MonkeyPatch, expected: Expected, outcome: str, code: int, status: str
) -> None:
    played = {"outcome": outcome, "reason": "why", "seconds": 0.1, "timeline": ["one line"]}
    monkeypatch.setattr(checker, "_played", lambda: played)
    monkeypatch.setattr(checker, "examine", lambda _: [])
    report = checker.report(expected)
    assert (report["exit_code"], report["status"]) == (code, status)


def test_each_status_has_its_own_code() -> None:
    assert len(set(checker.CODES.values())) == len(checker.CODES)
    assert not {0, 1, 2} & set(checker.CODES.values())
    help_text = checker.__doc__ or ""
    assert all(f"  {code}  " in help_text for code in checker.CODES.values())


def test_without_any_of_it(expected: Expected) -> None:
    assert {problem.kind for problem in examine(expected)} == {"incomplete"}


@pytest.mark.pypi
def test_real_wheels(tmp_path: Path) -> None:
    """1.8.9 patched keeps the call; official it loses it, whatever a metapackage claims."""
    workspace = Workspace(tmp_path / "cache")
    fetched = Settings(workspace).fetch("1.8.9")
    made = repack_release(fetched, Series.load(workspace.patches), workspace)
    wheels = [*made.wheels, *made.passthrough]
    environment = Environments(tmp_path / "envs").prepare(
        wheels, uploaded=made.release.uploaded, extra=()
    )
    place = Place(environment.path)
    install(place.path, metapackage(tmp_path, wheels))
    report = place.check()
    assert (report["exit_code"], report["schedule"]["outcome"]) == (0, "kept"), report
    assert report["schedule"]["seconds"] < 5
    install(place.path, *made.official)
    report = place.check()
    assert (report["exit_code"], report["schedule"]["outcome"]) == (3, "lost"), report
    install(place.path, write(tmp_path, final_metapackage(made.official, release="1.8.9")))
    report = place.check()
    assert (report["exit_code"], report["status"], report["problems"]) == (7, "lost", [])

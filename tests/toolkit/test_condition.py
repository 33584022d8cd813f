"""``python -m livekit_dispatched`` in real environments: what it finds, and its exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from market import install, make_environment
from publishing import make_pair, make_wheel

import livekit_dispatched.__main__ as checker
from livekit_dispatched.condition import examine, read_expected
from toolkit.environments.environment import Environments
from toolkit.index.metapackage import final_metapackage, make_metapackage
from toolkit.index.staged_wheel import Generated
from toolkit.patches.series import Series
from toolkit.releases.official import Settings
from toolkit.releases.repack import repack_release
from toolkit.util.workspace import Workspace

LOCAL = "+dispatched.1"


@dataclass
class Place:
    """A virtual environment of its own; nothing in it is linked to another."""

    path: Path

    @property
    def site(self) -> Path:
        return next(self.path.glob("lib/python*/site-packages"))

    def check(self, *flags: str) -> tuple[int, dict[str, Any]]:
        command = [str(self.path / "bin/python"), "-m", "livekit_dispatched", "--json", *flags]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.path)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def write(folder: Path, made: Generated) -> Path:
    path = folder / made.filename
    path.write_bytes(made.data)
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both patched, and the companion."""
    folder = tmp_path_factory.mktemp("pair")
    agents = {f"livekit/agents/{name}.py": f"{name} = 1\n" for name in ("__init__", "engine")}
    partner = {"livekit/plugins/openai/__init__.py": "made = 1\n"}
    made = [
        make_wheel(folder, "livekit-agents", f"1.4.6{LOCAL}", agents),
        make_wheel(folder, "livekit-plugins-openai", f"1.4.6{LOCAL}", partner),
    ]
    companion = make_metapackage(made, release="1.4.6", revision=1, series="5e" * 32)
    return [*made, write(folder, companion)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, pair: list[Path]) -> Place:
    """An environment that holds the pair; it is only copied."""
    return Place(make_environment(tmp_path_factory.mktemp("model") / "env", *pair))


@pytest.fixture
def place(tmp_path: Path, model: Place) -> Place:
    return Place(Path(shutil.copytree(model.path, tmp_path / "env", symlinks=True)))


def kinds(found: dict[str, Any]) -> set[str]:
    return {problem["kind"] for problem in found["problems"]}


def texts(found: dict[str, Any]) -> str:
    return "\n".join(problem["text"] for problem in found["problems"])


@pytest.mark.parametrize("pip", [False, True])
def test_patched(place: Place, pair: list[Path], pip: bool) -> None:
    if pip:
        command = [sys.executable, "-m", "pip", "--python", str(place.path / "bin/python")]
        flags = ["-q", "--no-index", "--no-deps", "--force-reinstall"]
        subprocess.run([*command, "install", *flags, *map(str, pair)], check=True)
    code, found = place.check("--files-only")
    assert (code, found["status"], found["problems"]) == (0, "patched", [])
    assert (found["release"], found["revision"], found["series"]) == ("1.4.6", 1, "5e" * 32)
    assert found["distributions"]["livekit-agents"] == {
        "proved": f"1.4.6{LOCAL}",
        "installed": f"1.4.6{LOCAL}",
    }


def test_compiled_modules_are_no_strangers(place: Place) -> None:
    subprocess.run([place.path / "bin/python", "-m", "compileall", "-q", place.site], check=True)
    assert place.check("--files-only")[0] == 0


@pytest.mark.parametrize("half", [False, True])
def test_unpatched(place: Place, tmp_path: Path, half: bool) -> None:
    official = make_pair(tmp_path, release="1.4.6")
    install(place.path, *official[half:])
    code, found = place.check("--files-only")
    assert (code, found["status"]) == (3, "unpatched")
    assert "livekit-plugins-openai is 1.4.6, not 1.4.6+dispatched.1" in texts(found)
    assert ("livekit-agents is" in texts(found)) is not half


def test_another_revision_is_not_what_was_proved(place: Place, tmp_path: Path) -> None:
    install(place.path, make_pair(tmp_path, "+dispatched.2", "1.4.6")[0])
    assert place.check("--files-only")[0] == 3


def test_a_missing_distribution(place: Place) -> None:
    shutil.rmtree(next(place.site.glob("livekit_plugins_openai-*.dist-info")))
    code, found = place.check("--files-only")
    assert (code, found["status"]) == (4, "incomplete")
    assert "livekit-plugins-openai is not installed" in texts(found)


def test_a_missing_file(place: Place) -> None:
    (place.site / "livekit/agents/engine.py").unlink()
    code, found = place.check("--files-only")
    assert (code, texts(found)) == (4, "livekit/agents/engine.py is missing")


def test_an_edited_file(place: Place) -> None:
    with (place.site / "livekit/agents/engine.py").open("a") as file:
        file.write("# harmless\n")
    code, found = place.check("--files-only")
    assert (code, texts(found)) == (5, "livekit/agents/engine.py was altered")


def test_an_edited_file_with_its_record(place: Place) -> None:
    """The hash in RECORD is true again; the companion knows what it should be."""
    record = next(place.site.glob("livekit_agents-*.dist-info")) / "RECORD"
    rows = record.read_text().splitlines(keepends=True)
    (place.site / "livekit/agents/engine.py").unlink()
    record.write_text("".join(row for row in rows if "engine.py" not in row))
    code, found = place.check("--files-only")
    assert (code, kinds(found)) == (5, {"tampered"})
    assert "the RECORD of livekit-agents" in texts(found)


@pytest.mark.parametrize("text", [b"", b"\0\n", b"\xff,,\n"])
def test_a_record_that_cannot_be_read(place: Place, text: bytes) -> None:
    (next(place.site.glob("livekit_agents-*.dist-info")) / "RECORD").write_bytes(text)
    code, found = place.check("--files-only")
    assert code in (4, 5)
    assert "RECORD" in texts(found)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"release": 1}'])
def test_a_damaged_companion(place: Place, text: str) -> None:
    (place.site / "livekit_dispatched/expected.json").write_text(text)
    command = [str(place.path / "bin/python"), "-m", "livekit_dispatched"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place.path)
    assert done.returncode == 5
    assert "expected.json cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["engine/__init__.py", "engine.cpython-311-x86_64-linux-gnu.so"])
def test_a_module_that_shadows_another(place: Place, name: str) -> None:
    path = place.site / "livekit/agents" / name.replace("cpython-311", sys.implementation.cache_tag)
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    code, found = place.check("--files-only")
    assert code == 5
    assert "belongs to no wheel" in texts(found)


def test_a_package_in_front_of_it(place: Place, tmp_path: Path) -> None:
    """The checker imports what the application would, and looks where that came from."""
    front = tmp_path / "front/livekit/agents"
    front.mkdir(parents=True)
    (front / "__init__.py").write_text("")
    (front.parents[1] / "aiohttp.py").write_text("")
    (place.site / "aaa.pth").write_text(
        f"import sys; sys.path.insert(0, {str(front.parents[1])!r})"
    )
    code, found = place.check()
    assert code == 5
    assert f"{front}/__init__.py is imported, not" in texts(found)


def test_not_importable(place: Place) -> None:
    code, found = place.check()
    assert (code, found["status"]) == (6, "not importable")
    assert "aiohttp" in found["schedule"]["reason"]


def test_an_official_partner_from_anywhere(place: Place, tmp_path: Path) -> None:
    """It is held against its own RECORD, since any build of that version will do."""
    agents, partner = make_pair(tmp_path, LOCAL)
    made = make_metapackage([agents, partner], release="1.8.9", revision=1, series="5e" * 32)
    install(place.path, agents, partner, write(tmp_path, made))
    assert place.check("--files-only")[0] == 0
    other = make_wheel(
        tmp_path / "o",
        "livekit-plugins-openai",
        "1.8.9",
        {"livekit/plugins/openai/__init__.py": "#"},
    )
    install(place.path, other)
    assert place.check("--files-only")[0] == 0
    (place.site / "livekit/plugins/openai/__init__.py").write_text("edited")
    assert place.check("--files-only")[0] == 5


@pytest.mark.parametrize(
    ("outcome", "code", "status"),
    [("kept", 0, "patched"), ("lost", 7, "lost"), ("undecided", 8, "undecided")],
)
def test_what_the_schedule_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcome: str, code: int, status: str
) -> None:
    played = {"outcome": outcome, "reason": "why", "seconds": 0.1, "timeline": ["one line"]}
    monkeypatch.setattr(checker, "_played", lambda: played)
    monkeypatch.setattr(checker, "examine", lambda _: [])
    made = make_metapackage(
        make_pair(tmp_path, LOCAL), release="1.8.9", revision=1, series="5e" * 32
    )
    expected = read_expected(unpacked(write(tmp_path, made), tmp_path))
    found = checker.report(expected)
    assert (found["exit_code"], found["status"]) == (code, status)


def unpacked(wheel: Path, folder: Path) -> Path:
    shutil.unpack_archive(wheel, folder / "unpacked", "zip")
    return folder / "unpacked/livekit_dispatched/expected.json"


def test_each_status_has_its_own_code() -> None:
    assert len(set(checker.CODES.values())) == len(checker.CODES)
    assert not {0, 1, 2} & set(checker.CODES.values())
    help_text = checker.__doc__ or ""
    assert all(f"  {code}  " in help_text for code in checker.CODES.values())


def test_without_any_of_it(tmp_path: Path) -> None:
    made = make_metapackage(
        make_pair(tmp_path, LOCAL), release="1.8.9", revision=1, series="5e" * 32
    )
    expected = read_expected(unpacked(write(tmp_path, made), tmp_path))
    assert {problem.kind for problem in examine(expected)} == {"incomplete"}


@pytest.mark.pypi
def test_real_wheels(tmp_path: Path) -> None:
    """1.8.9 patched keeps the call; official it loses it, whatever a companion claims."""
    workspace = Workspace(tmp_path / "cache")
    fetched = Settings(workspace).fetch("1.8.9")
    made = repack_release(fetched, Series.load(workspace.patches), workspace)
    wheels = [*made.wheels, *made.passthrough]
    environment = Environments(tmp_path / "envs").prepare(
        wheels, uploaded=made.release.uploaded, extra=()
    )
    place = Place(environment.path)
    companion = make_metapackage(wheels, release="1.8.9", revision=1, series=made.series_digest)
    install(place.path, write(tmp_path, companion))
    code, found = place.check()
    assert (code, found["schedule"]["outcome"]) == (0, "kept"), found
    assert found["schedule"]["seconds"] < 5
    install(place.path, *made.official)
    code, found = place.check()
    assert (code, found["schedule"]["outcome"]) == (3, "lost"), found
    install(place.path, write(tmp_path, final_metapackage(made.official, release="1.8.9")))
    code, found = place.check()
    assert (code, found["status"], found["problems"]) == (7, "lost", [])

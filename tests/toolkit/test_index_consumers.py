"""Each client in each situation that loses the fix: what README.md recommends never does so."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import consuming
import pytest
from consuming import RECIPES, SITUATIONS, Errand
from worlds import PATCHED, Worlds, open_worlds

from toolkit.environments.interpreter import uv
from toolkit.index.metapackage import PROJECT

# "." the fix is there, "E" an error, "LOST" neither: done, and without the fix. "-" is no
# situation of that client. The recipes below the line are those that README.md warns of.
TABLE = """
client         recipe       newer swapped best-match explicit as-of yanked platform installed taken
uv_pip         companion    .     E       .          -        E     E      E        .         .
uv_pip         any-revision .     E       .          -        E     E      E        .         .
uv_pip         link         .     E       .          -        E     .      E        .         .
uv_pip         pins         .     E       .          -        E     .      E        .         .
uv_project     companion    .     E       .          E        E     E      E        .         .
uv_first_match companion    .     .       -          E        E     E      E        .         .
uv_sources     companion    .     E       .          .        .     E      E        .         .
pip            link         .     .       -          -        E     .      E        .         .
pip            pins         .     .       -          -        E     .      E        .         .
pip_tools      link         .     .       -          -        E     .      E        .         .
poetry_sources companion    .     E       -          .        .     .      E        .         .
poetry         link         .     .       -          E        .     .      E        .         .
pdm            companion    .     .       -          E        E     .      E        .         .
uv_front       companion    .     -       .          -        E     E      E        .         .
pip_front      companion    .     -       -          -        E     .      E        .         .
-------------------------------------------------------------------------------------------------
uv_pip         plain-pins   .     LOST    .          -        E     E      E        LOST      .
uv_pip         range        .     LOST    LOST       -        E     E      E        LOST      .
uv_project     range        .     LOST    LOST       LOST     E     E      E        .         .
pip            companion    .     .       -          -        E     .      E        .         LOST
pip            range        LOST  LOST    -          -        E     LOST   LOST     LOST      LOST
pip_tools      companion    .     .       -          -        E     .      E        .         LOST
poetry         companion    .     .       -          E        .     .      E        .         LOST
poetry         range        LOST  .       -          LOST     LOST  LOST   LOST     LOST      LOST
pdm            range        .     LOST    -          LOST     LOST  LOST   E        LOST      .
"""
WORDS = {".": "patched", "E": "error", "LOST": "LOST"}
# Each in an environment of its own.
TOOLS = {
    "pip": ["pip==26.3", "pip-tools==7.6.2"],
    "poetry": ["poetry==2.5.1"],
    "pdm": ["pdm[locked]==2.29.3"],
}


def rows() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Client, recipe, and the outcome by situation."""
    head, *lines = TABLE.strip().splitlines()
    titles = head.split()
    assert titles[2:] == [*SITUATIONS]
    for line in lines:
        if not line.startswith("-"):
            client, recipe, *said = line.split()
            yield client, recipe, dict(zip(SITUATIONS, said, strict=True))


def cells() -> Iterator[object]:
    """One case of pytest's for each cell."""
    for client, recipe, outcomes in rows():
        marks = [] if client.startswith("uv") else [pytest.mark.pypi]
        for situation, outcome in outcomes.items():
            if outcome != "-":
                name = f"{client}-{recipe}-{situation}"
                words = (client, recipe, situation, WORDS[outcome])
                yield pytest.param(*words, id=name, marks=marks)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    with open_worlds(tmp_path_factory.mktemp("worlds")) as opened:
        yield opened


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path | None]:
    """The folder with a client's programs, which are installed when they are first asked for."""
    folder = tmp_path_factory.mktemp("clients")

    def of(client: str) -> Path | None:
        kind = client.partition("_")[0]
        if kind not in TOOLS:
            return None
        place = folder / kind
        if not place.exists():
            subprocess.run([uv(), "venv", "--quiet", place], check=True)
            command = [uv(), "pip", "install", "--quiet", "--python", str(place)]
            subprocess.run([*command, *TOOLS[kind]], check=True)
        return place / "bin"

    return of


@pytest.fixture
def errand(
    worlds: Worlds, programs: Callable[[str], Path | None], tmp_path: Path
) -> Callable[..., Errand]:
    def make(client: str, recipe: str, situation: str) -> Errand:
        needs = RECIPES[recipe]
        return Errand(worlds.of(situation), tmp_path, situation, needs, programs(client))

    return make


@pytest.mark.parametrize(("client", "recipe", "situation", "outcome"), [*cells()])
def test_a_cell(
    errand: Callable[..., Errand], client: str, recipe: str, situation: str, outcome: str
) -> None:
    one = errand(client, recipe, situation)
    found = getattr(consuming, client)(one)
    assert one.outcome(found) == outcome, f"{one.said}\n{found}"


def test_a_recommended_recipe_loses_nothing() -> None:
    recommended = TABLE.partition("---")[0]
    assert "LOST" not in recommended
    clients = {client for client, _, _ in rows()}
    assert {line.split()[0] for line in recommended.strip().splitlines()[1:]} == clients


@pytest.mark.parametrize("tool", ["uv", pytest.param("pip", marks=pytest.mark.pypi)])
def test_who_falls_out_later_is_told_by_the_health_check(
    errand: Callable[..., Errand], tool: str
) -> None:
    one = errand("pip" if tool == "pip" else "uv_pip", "link", "newer")
    check = [one.python, "-m", "livekit_dispatched", "--files-only"]
    found = (consuming.pip if tool == "pip" else consuming.uv_pip)(one)
    assert found == PATCHED, one.said
    assert one.run(*check), one.said
    upgrade = ["install", "--upgrade", "livekit-agents", "--index-url", one.world.public]
    if tool == "pip":
        pip = [one.tool("python"), "-m", "pip", "--isolated", "--python", one.python]
        assert one.run(*pip, *upgrade)
        assert f"{PROJECT} 1.8.9.1 requires" in one.said
    else:
        assert one.run(uv(), "pip", *upgrade, "--no-config", "--python", one.python)
        assert not one.run(uv(), "pip", "check", "--python", one.python)
    assert one.installed()["livekit-agents"] == "1.8.10"
    assert subprocess.run([*map(str, check)], cwd=one.folder, check=False).returncode == 3

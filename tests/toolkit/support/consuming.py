"""Clients that consume a published index beside the public one, both on loopback.

The public index has everything that upstream ever released; the published one has what stands in
front of it. A client is asked for the fix in each situation that is known to lose it.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from clients import clean_environment
from packaging.utils import parse_wheel_filename
from wheels import AGENTS, PLUGIN
from worlds import LOCAL, PATCHED, World

from toolkit.environments.interpreter import uv
from toolkit.index.metapackage import PROJECT

AS_OF = "2026-11-01T00:00:00Z"

SITUATIONS = (
    "newer",  # upstream releases the next version
    "swapped",  # the two indexes the other way round
    "best-match",  # all indexes are searched for the best version
    "explicit",  # only the companion may come from the published index
    "as-of",  # releases after a day are hidden, and our pages tell no times
    "yanked",  # the only patched build was yanked
    "platform",  # there is no patched wheel for this platform
    "installed",  # the environment has the official wheels
    "taken",  # a stranger has registered the companion's name
)
# What a team asks for. The last two are what loses the fix.
RECIPES = {
    "companion": [f"{PROJECT}==1.8.9.1"],
    "any-revision": [f"{PROJECT}==1.8.9.*"],
    "link": [f"{PROJECT} @ LINK"],
    "pins": [f"{AGENTS}==1.8.9{LOCAL}", f"{PLUGIN}==1.8.9"],
    "plain-pins": [f"{AGENTS}==1.8.9", f"{PLUGIN}==1.8.9"],
    "range": [f"{AGENTS}>=1.8", PLUGIN],
}


@dataclass
class Errand:
    """One client that is asked for one recipe in one situation, in a folder of its own."""

    world: World
    folder: Path
    situation: str
    needs: Sequence[str]
    programs: Path | None = None
    said: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.needs = [need.replace("LINK", self.world.link) for need in self.needs]

    @property
    def indexes(self) -> tuple[str, str]:
        """The published index and the public one, or swapped."""
        both = (self.world.ours, self.world.public)
        return both[::-1] if self.situation == "swapped" else both

    @property
    def python(self) -> Path:
        """The interpreter of the environment, which is empty unless the situation says else."""
        path = self.folder / ".venv"
        if not path.exists():
            self.run(uv(), "venv", "--quiet", path)
            if self.situation == "installed":
                flags: list[object] = ["--no-config", "--quiet", "--no-deps", "--no-index"]
                flags += ["--python", path]
                self.run(uv(), "pip", "install", *flags, *self.world.official)
        return path / "bin" / "python"

    def run(self, *command: object, env: dict[str, str] | None = None) -> bool:
        """Whether a command ended well; what it said is kept."""
        done = subprocess.run(
            [*map(str, command)],
            cwd=self.folder,
            env={**clean_environment(self.folder), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        self.said += f"$ {' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
        return done.returncode == 0

    def tool(self, name: str) -> Path:
        """A program of the client's own environment."""
        assert self.programs is not None
        return self.programs / name

    def write(self, text: str) -> None:
        """The project: ``text`` below what every tool reads."""
        (self.folder / "pyproject.toml").write_text(
            '[project]\nname = "app"\nversion = "0"\nrequires-python = ">=3.10,<3.15"\n'
            f"dependencies = {[*self.needs]!r}\n{text}"
        )

    def installed(self) -> dict[str, str]:
        """What the environment has, by project."""
        found = {}
        for path in self.folder.glob(".venv/lib/*/site-packages/*.dist-info"):
            name, _, version = path.stem.rpartition("-")
            found[re.sub(r"[-_.]+", "-", name)] = version
        return found

    def locked(self, name: str) -> dict[str, str]:
        """What a lock file in TOML lets in, by project: all versions of its files."""
        found = {}
        for row in tomllib.loads((self.folder / name).read_text())["package"]:
            # PDM writes a version without its local part
            files = [
                parse_wheel_filename(Path(f.get("file") or f["url"]).name) for f in row["files"]
            ]
            found[row["name"]] = " or ".join(sorted({str(version) for _, version, _, _ in files}))
        return found

    def outcome(self, versions: dict[str, str] | None) -> str:
        """``patched``, ``error`` (None), or ``LOST``: it ended well without the fix."""
        if versions is None:
            return "error"
        wanted = {name: PATCHED[name] for name in (AGENTS, PLUGIN)}
        return "patched" if wanted.items() <= versions.items() else "LOST"


def pip(errand: Errand) -> dict[str, str] | None:
    """``pip install``."""
    ours, public = errand.indexes
    return _pip(errand, "--index-url", public, "--extra-index-url", ours)


def pip_front(errand: Errand) -> dict[str, str] | None:
    """The same with one index, which serve.py puts in front of the public one."""
    return _pip(errand, "--index-url", errand.world.front)


def _pip(errand: Errand, *flags: object) -> dict[str, str] | None:
    if errand.situation == "as-of":
        flags = (*flags, "--uploaded-prior-to", AS_OF)
    command = [errand.tool("python"), "-m", "pip", "--isolated", "--python", errand.python]
    done = errand.run(*command, "install", "--no-cache-dir", *flags, *errand.needs)
    return errand.installed() if done else None


def uv_pip(errand: Errand) -> dict[str, str] | None:
    """``uv pip install``."""
    ours, public = errand.indexes
    return _uv_pip(errand, "--index", ours, "--default-index", public)


def uv_front(errand: Errand) -> dict[str, str] | None:
    """The same with one index, which serve.py puts in front of the public one."""
    return _uv_pip(errand, "--default-index", errand.world.front)


def _uv_pip(errand: Errand, *flags: object) -> dict[str, str] | None:
    if errand.situation == "best-match":
        flags = (*flags, "--index-strategy", "unsafe-best-match")
    if errand.situation == "as-of":
        flags = (*flags, "--exclude-newer", AS_OF)
    command = [uv(), "pip", "install", "--no-config", "--python", errand.python]
    return errand.installed() if errand.run(*command, *flags, *errand.needs) else None


def uv_project(errand: Errand) -> dict[str, str] | None:
    """``uv lock``, and ``uv sync`` of what it wrote."""
    return _uv_project(errand, "")


def uv_first_match(errand: Errand) -> dict[str, str] | None:
    """The same with the strategy that stops at the first index with a version that fits."""
    return _uv_project(errand, 'index-strategy = "unsafe-first-match"\n')


def uv_sources(errand: Errand) -> dict[str, str] | None:
    """A project that names the index of each of the three distributions."""
    names = [PROJECT, AGENTS, PLUGIN]
    errand.needs = [*errand.needs, *names[1:]]  # sources are for what the project itself names
    sources = "[tool.uv.sources]\n"
    # the index has but what was proved, and its pages may tell no times
    sources += "".join(f'{name} = {{ index = "dispatched" }}\n' for name in names)
    return _uv_project(errand, "", sources, explicit=True, timeless=True)


def _uv_project(
    errand: Errand,
    settings: str,
    sources: str = "",
    *,
    explicit: bool = False,
    timeless: bool = False,
) -> dict[str, str] | None:
    ours, public = errand.indexes
    if errand.situation == "best-match":
        settings = 'index-strategy = "unsafe-best-match"\n'
    if errand.situation == "as-of":
        settings += f'exclude-newer = "{AS_OF}"\n'
    if errand.situation == "explicit" and not sources:
        explicit, sources = True, f'[tool.uv.sources]\n{PROJECT} = {{ index = "dispatched" }}\n'
    errand.write(
        f"[tool.uv]\nenvironments = [\"sys_platform == 'linux'\"]\n{settings}"
        f'[[tool.uv.index]]\nname = "dispatched"\nurl = "{ours}"\n'
        f"{'explicit = true' if explicit else ''}\n{'exclude-newer = false' if timeless else ''}\n"
        f'[[tool.uv.index]]\nname = "public"\nurl = "{public}"\ndefault = true\n{sources}'
    )
    if not errand.run(uv(), "lock", "--python", errand.python):
        return None
    return errand.installed() if errand.run(uv(), "sync", "--frozen") else None


def poetry(errand: Errand) -> dict[str, str] | None:
    """``poetry lock``; and ``poetry sync`` where the environment decides."""
    explicit = errand.situation == "explicit"
    return _poetry(errand, explicit, [PROJECT] * explicit)


def poetry_sources(errand: Errand) -> dict[str, str] | None:
    """The same with a source for each of the three distributions."""
    names = [PROJECT, AGENTS, PLUGIN]
    errand.needs = [*errand.needs, *names[1:]]
    return _poetry(errand, True, names)


def _poetry(errand: Errand, explicit: bool, names: Sequence[str]) -> dict[str, str] | None:
    ours, public = errand.indexes
    sources = "".join(f'{name} = {{ source = "dispatched" }}\n' for name in names)
    errand.write(
        f'[tool.poetry]\npackage-mode = false\n[[tool.poetry.source]]\nname = "dispatched"\n'
        f'url = "{ours}"\npriority = "{"explicit" if explicit else "supplemental"}"\n'
        f'[[tool.poetry.source]]\nname = "public"\nurl = "{public}"\npriority = "primary"\n'
        f"[tool.poetry.dependencies]\n{sources}"
    )
    env = {"POETRY_VIRTUALENVS_IN_PROJECT": "true", "POETRY_KEYRING_ENABLED": "false"}
    if errand.situation == "as-of":
        days = (datetime.now(UTC) - datetime.fromisoformat(AS_OF)).days
        env["POETRY_SOLVER_MIN_RELEASE_AGE"] = str(days)
    assert errand.python.exists()
    if not errand.run(errand.tool("poetry"), "lock", env=env):
        return None
    if errand.situation not in ("installed", "platform"):
        return errand.locked("poetry.lock")
    return errand.installed() if errand.run(errand.tool("poetry"), "sync", env=env) else None


def pdm(errand: Errand) -> dict[str, str] | None:
    """``pdm lock``; and ``pdm sync`` where the environment decides."""
    ours, public = errand.indexes
    only = f'include_packages = ["{PROJECT}"]\nexclude_packages = ["*"]\n'
    errand.write(
        f'[tool.pdm]\ndistribution = false\n[[tool.pdm.source]]\nname = "dispatched"\n'
        f'url = "{ours}"\n{only if errand.situation == "explicit" else ""}'
        f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{public}"\n'
        "[tool.pdm.resolution]\nrespect-source-order = true\n"
    )
    env = {"PDM_CHECK_UPDATE": "false", "PDM_CACHE_DIR": str(errand.folder / "pdm")}
    flags = ["--exclude-newer", AS_OF] if errand.situation == "as-of" else []
    assert errand.python.exists()
    if not errand.run(errand.tool("pdm"), "lock", *flags, env=env):
        return None
    if errand.situation not in ("installed", "platform"):
        return errand.locked("pdm.lock")
    return errand.installed() if errand.run(errand.tool("pdm"), "sync", env=env) else None


def pip_tools(errand: Errand) -> dict[str, str] | None:
    """``pip-compile``; and ``pip-sync`` where the environment decides."""
    ours, public = errand.indexes
    (errand.folder / "requirements.in").write_text("\n".join(errand.needs))
    flags: list[object] = ["--index-url", public, "--extra-index-url", ours, "--generate-hashes"]
    env = {"PIP_NO_CACHE_DIR": "1"}
    if errand.situation == "as-of":
        flags += ["--pip-args", f"--uploaded-prior-to {AS_OF}"]
    flags += ["--cache-dir", errand.folder / "cache", "--strip-extras", "--no-header"]
    if not errand.run(errand.tool("pip-compile"), "--quiet", *flags, "requirements.in", env=env):
        return None
    text = (errand.folder / "requirements.txt").read_text()
    if errand.situation not in ("installed", "platform"):
        return dict(re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE))
    command = [errand.tool("python"), "-m", "pip", "--isolated", "--python", errand.python]
    requirements = ["install", "--require-hashes", "-r", "requirements.txt"]
    return errand.installed() if errand.run(*command, *requirements) else None

"""A small repository like upstream's, and what its tests need that runs without a network."""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from pathlib import Path

import git
from wheels import make_wheel

WHO = git.Actor("A Maintainer", "maintainer@example.org")
PYPROJECT = """
[dependency-groups]
dev = ["pytest", "mypy", "types-things", { include-group = "more" }]
more = ["pytest-xdist>=1"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""


def make_repository(folder: Path, tags: Mapping[str, Mapping[str, str]]) -> Path:
    """A repository with one commit a tag, each with just these files (path -> text)."""
    repository = git.Repo.init(folder, initial_branch="main")
    with repository.config_writer() as configuration:
        # as a public server is set up
        configuration.set_value("uploadpack", "allowFilter", "true")
        configuration.set_value("uploadpack", "allowAnySHA1InWant", "true")
    for tag, files in tags.items():
        for known in [p for p in folder.rglob("*") if p.is_file() and ".git" not in p.parts]:
            known.unlink()
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
        repository.git.add("--all", "--force")
        repository.index.commit(tag, author=WHO, committer=WHO)
        if tag.endswith("0"):
            repository.create_tag(tag)
        else:
            who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
            words = ("tag", "--annotate", "--no-sign", "--message=It is out", tag)
            repository.git.execute(["git", *who, *words])
    repository.close()
    return folder


def lend_pytest(folder: Path) -> Path:
    """A folder of wheels by which an environment uses the pytest that runs this very test."""
    here = sysconfig.get_paths()["purelib"]
    lent = {"lent.pth": f"{here}\n".encode()}
    for name in ("pytest", "pytest-timeout", "pytest-xdist"):
        make_wheel(folder, name, "1.0", members=lent if name == "pytest" else {}, requires=[])
    return folder

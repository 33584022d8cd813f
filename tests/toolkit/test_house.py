"""The shape of the scripts: small modules and functions, and names that mean one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.util.workspace import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"
MODULES = sorted(SCRIPTS.rglob("*.py"))
VERBS = sorted(SCRIPTS.glob("*.py"))
MODULE_LINES, VERB_LINES = 250, 120
FUNCTION_LINES, PARAMETERS, WITHOUT_COMMENT = 60, 7, 30


def name_of(path: Path) -> str:
    return path.relative_to(SCRIPTS).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_are_small(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    limit = VERB_LINES if path in VERBS else MODULE_LINES
    problems = [f"{len(lines)} lines"] if len(lines) > limit else []
    for function in functions(path):
        arguments = function.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        assert function.end_lineno is not None
        body = lines[function.body[0].lineno - 1 : function.end_lineno]
        length = function.end_lineno - function.lineno + 1
        if count > PARAMETERS:
            problems.append(f"{function.name} has {count} parameters")
        if length > FUNCTION_LINES:
            problems.append(f"{function.name} has {length} lines")
        if length > WITHOUT_COMMENT and not any(line.lstrip().startswith("# ") for line in body):
            problems.append(f"{function.name} has {length} lines and no comment a step")
    assert not problems


def test_public_names_mean_one_thing() -> None:
    """Two public classes or functions share a name only where they share a meaning."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in SCRIPTS.joinpath("toolkit").rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                places[node.name].append(name_of(path))
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}

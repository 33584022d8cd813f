"""Publish the releases that were proved elsewhere: repack them here, by their verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from toolkit.index.bundle import VERDICT, remake_bundle
from toolkit.index.publish import consume_lines, publish_all
from toolkit.patches.series import Series
from toolkit.pipeline.results import Result
from toolkit.proof.store import VerdictSummary
from toolkit.proof.verdict import read_verdict
from toolkit.util.errors import ToolkitError
from toolkit.util.parallel import cores, map_parallel
from toolkit.util.workspace import Workspace


def publish_verdicts(
    source: Path, index: Path, workspace: Workspace, pypi: str | None, url: str | None
) -> list[Result]:
    """Repack and publish each release whose verdict below ``source`` lets it in.

    ``pypi`` is another index than PyPI's, ``url`` where others see the index. Returns the result
    of each release, ordered by its file: an error of one does not stop the others.
    """
    series = Series.load(workspace.patches)

    def remake(path: Path) -> Result:
        result = Result(path.name.removesuffix(VERDICT))
        try:
            verdict = read_verdict(path)
            result = Result(verdict.release, summary=VerdictSummary.of(verdict))
            if verdict.verdict != "publish":
                return result
            picture = path.with_suffix(".svg")
            bundle = remake_bundle(verdict, series, workspace, picture=picture, endpoint=pypi)
            return replace(result, bundle=bundle)
        except ToolkitError as error:
            return replace(result, error=error)

    remade = dict(map_parallel(remake, sorted(source.rglob(f"*{VERDICT}")), jobs=cores()))
    results = [remade[path] for path in sorted(remade)]
    waiting = [number for number, result in enumerate(results) if result.bundle]
    answers = publish_all([r.bundle for r in results if r.bundle], index)
    for number, answer in zip(waiting, answers, strict=True):
        result = results[number]
        if isinstance(answer, ToolkitError):
            results[number] = replace(result, error=answer)
        elif result.summary:
            lines = consume_lines(index, result.summary, url)
            results[number] = replace(result, new=answer.new, lines=lines)
    return results

"""Publish what was proved: in this run, or elsewhere, by its verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.index.bundle import VERDICT, remake_bundle
from toolkit.index.publish import Publication, consume_lines, publish_all
from toolkit.patches.series import Series
from toolkit.pipeline.results import Result
from toolkit.proof.store import VerdictSummary
from toolkit.proof.verdict import read_verdict
from toolkit.util.errors import ToolkitError
from toolkit.util.parallel import cores, map_parallel
from toolkit.util.workspace import Workspace


def publish_results(results: Sequence[Result], index: Path, url: str | None = None) -> list[Result]:
    """Publish the bundles in one go, and bring the index's pages up to date.

    ``url`` is where others see the index. Returns the results in the same order, with what is new
    and how to install it; an error of one does not stop the others.
    """
    answers = iter(publish_all([result.bundle for result in results if result.bundle], index))
    published = []
    for result in results:
        answer = next(answers) if result.bundle else Publication((), ())
        if isinstance(answer, ToolkitError):
            result = replace(result, error=answer)
        elif result.summary and result.summary.verdict == "publish" and not result.error:
            lines = consume_lines(index, result.summary, url)
            result = replace(result, new=answer.new, lines=lines)
        published.append(result)
    return published


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

    # one after the other in the order of the files, whichever was ready first
    remade = dict(map_parallel(remake, sorted(source.rglob(f"*{VERDICT}")), jobs=cores()))
    return publish_results([remade[path] for path in sorted(remade)], index, url)

"""From official and patched wheels, and upstream's repository, to what upstream's tests say."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolkit.environments import environment
from toolkit.environments.environment import Environment
from toolkit.environments.interpreter import find_interpreter
from toolkit.environments.pair import SUBCLASSES, WheelPair, prepare
from toolkit.upstream_tests import checkout, runner
from toolkit.upstream_tests.checkout import Checkout
from toolkit.upstream_tests.result import (
    FORMAT,
    WHOLE,
    Pair,
    Side,
    Source,
    Upstream,
    described,
    differing_tests,
    judge,
)
from toolkit.upstream_tests.runner import GUEST, Limits, run_side
from toolkit.util import files, inherited
from toolkit.util.errors import CommandFailed, EnvironmentUnresolvable, Unreachable
from toolkit.util.files import not_writable_errors, sha256, sha256_of, write_whole
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace

# how often a test that differs is run again, and how many of them are run one by one
AGAIN, FEW = 2, 10


@dataclass(frozen=True)
class Question:
    """Which wheels run under which of upstream's tests.

    ``trees`` maps distributions to folders of upstream's repository; ``known`` are releases.
    ``everything`` takes every test file, not only the plugin's.
    """

    pair: WheelPair
    trees: Mapping[str, str]
    known: Iterable[Version] = ()
    everything: bool = False
    python: str | None = None
    optional: Sequence[str] = SUBCLASSES


def answer(
    question: Question,
    repository: str,
    workspace: Workspace,
    *,
    limits: Limits,
    tell: Callable[[str], None] = lambda _: None,
    offline: bool = False,
) -> Upstream:
    """Run upstream's tests on the official wheels, then on the patched, and compare.

    Whatever is missing (the repository, an environment, a run on the official wheels in which a
    test passes) gives "not run", and why; so does a repository that is no folder if ``offline``.
    The same question to the same commit runs nothing the second time.
    """
    release = question.pair.release
    if offline and not Path(repository).exists():
        return Upstream.not_run(release, "it is elsewhere, and --offline was given")
    try:
        tags = checkout.tags_of(repository)
        tag, between = checkout.nearest(tags, Version(release), question.known)
        found = checkout.checkout(tag, repository, workspace.upstream / "commits")
        source = _source(question, found, between)
        kept = workspace.upstream / "results" / f"{_key(question, source, limits)}.json"
        if (known := _known(kept)) is not None:
            return known
        tell(f"upstream's tests of {described(source)}")
        result = _ran(question, found, source, workspace, limits, tell)
    except (Unreachable, EnvironmentUnresolvable, CommandFailed, Malformed) as error:
        why = getattr(error, "problem", str(error))
        return Upstream.not_run(release, _without_path(why, repository))
    if result.status == "passed":
        with not_writable_errors(kept.parent):
            write_whole(kept, result.to_json().encode())
    return result


def _without_path(why: str, repository: str) -> str:
    """A reason that names no path of this machine."""
    path = repository.removeprefix("file://")
    return why if "://" in path else why.replace(repository, "the clone").replace(path, "the clone")


def _ran(
    question: Question,
    found: Checkout,
    source: Source,
    workspace: Workspace,
    limits: Limits,
    tell: Callable[[str], None],
) -> Upstream:
    release = question.pair.release
    chosen, unchosen = runner.select(found.files, everything=question.everything)
    if not chosen:
        why = f"{source.tag} has no tests of the plugin"
        return Upstream.not_run(release, why, source)
    # the result is kept, not these environments: upstream's tests need half a gigabyte each
    with workspace.scratch() as scratch:
        pair = prepare(
            question.pair,
            scratch,
            python=question.python,
            extra=runner.requirements(found.files),
            optional=question.optional,
        )

        def side(place: Environment, only: Sequence[str] | None = None) -> Side:
            jobs = 1 if only is not None and len(only) <= FEW else limits.jobs
            with workspace.scratch() as folder:
                return run_side(
                    found.files, chosen, place, folder, replace(limits, jobs=jobs), only
                )

        tell("upstream's tests on the official wheels")
        official = side(pair[0])
        if official.trouble:
            return Upstream.not_run(release, f"on the official wheels {official.trouble}", source)
        if not official.passed:
            why = f"no test passes on the official wheels: {official.mostly}"
            return Upstream.not_run(release, why, source)
        tell("upstream's tests on the patched wheels")
        patched = side(pair[1])
        if patched.trouble:
            return Upstream(
                release,
                "regressed",
                "upstream's tests do not run on the patched wheels",
                source,
                _selection(question),
                regressed={WHOLE: f"on the patched wheels {patched.trouble}"},
            )
        first, again = (official, patched), list[Pair]()
        while (odd := differing_tests(first, again)) and len(again) < AGAIN:
            tell(f"{len(odd)} of upstream's tests differ: running them again")
            pair_again = side(pair[0], odd), side(pair[1], odd)
            if pair_again[0].trouble or pair_again[1].trouble:
                # it cannot tell flaky from regressed: what was seen stands
                break
            again.append(pair_again)
    return judge(release, source, _selection(question), first, again, unchosen)


def _source(question: Question, found: Checkout, between: int) -> Source:
    differing, modules = {}, {}
    for wheel in question.pair.official:
        name = str(parse_wheel_filename(wheel.name)[0])
        if name in question.trees:
            counts = checkout.differing(found, wheel, question.trees[name])
            differing[name], modules[name] = counts
    tag = found.tag
    return Source(tag.name, tag.commit, str(tag.version), between, differing, modules)


def _selection(question: Question) -> str:
    return "all" if question.everything else "the plugin's"


def _key(question: Question, source: Source, limits: Limits) -> str:
    inputs = {
        **inherited.sources()[-1],
        "formats": [environment.FORMAT, FORMAT],
        "release": question.pair.release,
        "uploaded": question.pair.uploaded.isoformat(),
        "official": sorted((wheel.name, sha256_of(wheel)) for wheel in question.pair.official),
        "patched": sorted((wheel.name, sha256_of(wheel)) for wheel in question.pair.patched),
        "source": [source.commit, source.between],
        "selection": _selection(question),
        "optional": sorted(question.optional),
        "python": [find_interpreter(question.python).version, sysconfig.get_platform()],
        "sandbox": [files.tree_digest(GUEST), bool(runner.apart())],
        "limits": [*astuple(limits)[:2], AGAIN],
    }
    return sha256(json.dumps(inputs, sort_keys=True).encode())


def _known(path: Path) -> Upstream | None:
    try:
        return Upstream.parse(path.read_text("utf-8"))
    except (OSError, Malformed, UnicodeDecodeError):
        return None

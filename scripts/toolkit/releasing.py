"""The proof of a repacked release: the wheels that run here speak for those that do not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from .fetched import Fetched
from .platforms import fitting
from .proving import PATIENCE, SUBCLASSES
from .repacking import RepackedRelease
from .upstream_proof import Asker
from .verdict import Verdict
from .workspace import Workspace


def prove_release(
    repacked: RepackedRelease,
    workspace: Workspace,
    prove: Callable[..., Verdict],
    *,
    tier: str,
    python: str | None = None,
    keep_environments: bool = True,
    picture: Path | None = None,
    upstream: Asker | None = None,
    timeout: float = PATIENCE,
) -> Verdict:
    """What :func:`.proving.prove` says of a release; what fails is told on standard error."""
    release = repacked.release
    patched = fitting([*repacked.wheels, *repacked.passthrough], python)

    def tell(line: str) -> None:
        # that official wheels alone fail tests is no news
        if repacked.series_digest:
            print(f"{release.version}: {line}", file=sys.stderr)

    with ExitStack() as stack:
        root = workspace.environments
        if not keep_environments:
            root = stack.enter_context(workspace.scratch())
        return prove(
            fitting(repacked.official, python),
            patched,
            others=[wheel for wheel in repacked.wheels if wheel not in patched],
            release=str(release.version),
            uploaded=release.uploaded,
            environments=root,
            verdicts=workspace.verdicts,
            series=repacked.series_digest,
            python=python,
            optional=SUBCLASSES,
            tier=tier,
            picture=picture,
            upstream=upstream,
            timeout=timeout,
            tell=tell,
        )


def unpatched(fetched: Fetched) -> RepackedRelease:
    """A release as it is, as if the series were empty: what its official wheels do alone.

    The verdict on it is ``fixed`` if they lose no call, whether the series would fit them or not.
    """
    return RepackedRelease(fetched.release, 0, fetched.paths, fetched.paths, (), "", {})

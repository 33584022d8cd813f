"""As if each release were the newest one: is the next carried without a hand?

For every step from a stable release to the next, the series is cut back to what it was (variants
named after later releases are dropped, and so is what `releases` says of later ones), and then
meets the next release: it applies, it is carried with new variants, or somebody has to look. With
--prove what was carried counts only if the proof says `publish`; so does what applies, unless the
very same patches were proved and published for that release. For information, a carried tree is
compared with the one that today's series makes.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# behind this folder
sys.path.insert(1, str(REPOSITORY / "scripts"))

from packaging.specifiers import SpecifierSet  # noqa: E402
from packaging.version import Version  # noqa: E402

from toolkit.cli import verb  # noqa: E402
from toolkit.environments.pair import WheelPair  # noqa: E402
from toolkit.patches.series import FILE, Series  # noqa: E402
from toolkit.proof import prove as proving  # noqa: E402
from toolkit.proof.settings import ProofSettings  # noqa: E402
from toolkit.proof.verdict import SuiteCounts, Verdict  # noqa: E402
from toolkit.refresh import refresher  # noqa: E402
from toolkit.refresh.refresher import Refresher  # noqa: E402
from toolkit.releases.catalogue import Catalogue, dump  # noqa: E402
from toolkit.releases.official import OfficialWheels, Settings  # noqa: E402
from toolkit.releases.repack import RepackedRelease, repack_release  # noqa: E402
from toolkit.releases.sources import apply_series, series_applies  # noqa: E402
from toolkit.util.errors import NotProved, PatchConflict, ToolkitError  # noqa: E402
from toolkit.util.files import not_writable_errors, sha256_of, write_whole  # noqa: E402
from toolkit.util.workspace import Workspace  # noqa: E402

GOAL = 0.9
GOOD = ("applies", "carried")


@dataclass(frozen=True)
class Step:
    """One release and the next.

    ``result`` is "applies", "carried", or, with the ``why``, "conflict" or "not proved". ``new``
    are the variants that were written, ``same`` whether today's series makes the same tree.
    """

    before: str
    release: str
    result: str
    new: tuple[str, ...] = ()
    proved: bool = False
    same: bool | None = None
    why: str = ""

    def __str__(self) -> str:
        text = f"{self.before} -> {self.release}: {self.result}"
        if self.result == "applies" and self.proved:
            text += ", and is proved"
        if self.new:
            text += f" ({', '.join(self.new)})"
        if self.same is not None:
            text += f", {'the same as' if self.same else 'other than'} today's"
        return text + (f"\n  {self.why}" if self.why else "")


@dataclass(frozen=True)
class Stage:
    """Where a rehearsal takes place: today's series, and a folder for older ones."""

    workspace: Workspace
    folder: Path
    prove: bool

    def step(self, before: Version, version: Version) -> Step:
        """Take the series as of ``before`` to ``version``."""
        then = replace(self.workspace, patches=self.folder / str(version) / "patches")
        as_of(self.workspace.patches, then.patches, before)
        today = Series.load(self.workspace.patches)
        catalogue = Catalogue.read(self.workspace.catalogue)
        names = (str(before), str(version))
        try:
            found = Settings(self.workspace).fetch(catalogue[version].release)
            series = Series.load(then.patches)
            if series_applies(found, series):
                row = catalogue.row(version)
                asked = self.prove and not (row and row.series == series.digest(version))
                if asked:
                    self.require(repack_release(found, series, then))
                return Step(*names, "applies", proved=asked)
            proof = ProofSettings(self.workspace, keep_environments=False)
            rebased = Refresher(Settings(then), proof, Catalogue.read(then.catalogue)).refresh(
                found, then.patches.parent / "question"
            )
        except ToolkitError as error:
            word = "conflict" if isinstance(error, PatchConflict) else "not proved"
            return Step(*names, word, why=error.problem.partition("\n  report:")[0])
        same = self.tree(found, Series.load(then.patches)) == self.tree(found, today)
        return Step(*names, "carried", rebased.written, self.prove, same)

    def require(self, repacked: RepackedRelease) -> None:
        proof = ProofSettings(self.workspace, keep_environments=False)
        verdict = proving.prove(repacked.pair(), proof)
        if verdict.verdict != "publish":
            raise NotProved(
                f"it applies, but the proof says {verdict.verdict}: {verdict.reason}",
                next_step="compare with what today's series does to it",
            )

    def tree(self, found: OfficialWheels, series: Series) -> object:
        return apply_series(found, series)


def unproved(pair: WheelPair, settings: ProofSettings) -> Verdict:
    """Stand in for the proof, which takes minutes."""
    none = SuiteCounts({}, 0, 0)
    return Verdict(
        release=pair.release,
        verdict="publish",
        reason="not proved",
        official=none,
        patched=none,
        wheels={wheel.name: sha256_of(wheel) for wheel in [*pair.patched, *pair.others]},
        series=pair.series,
        revision=1,
        suite="",
        python="3",
        uploaded=pair.uploaded.isoformat(),
        tests={},
    )


def as_of(patches: Path, target: Path, release: Version) -> None:
    """Copy a series as it was when ``release`` was the newest that it knew."""
    shutil.copytree(patches, target)
    series = Series.load(patches)
    text = (target / FILE).read_text("utf-8")
    for patch in series.patches:
        table = rf'\[\[patch\]\]\nname = "{patch.name}"\n(?:[^\[\n].*\n)*'
        later = [path.name for since, path in patch.variants.items() if since > release]
        if len(later) == len(patch.variants):
            shutil.rmtree(target / patch.name)
            text = re.sub(table + r"\n*", "", text)
            continue
        for name in later:
            (target / patch.name / name).unlink()
        known = [one for one in patch.releases if Version(one.version.rstrip(".*")) <= release]
        spec = str(SpecifierSet(",".join(map(str, known))))
        text = re.sub(
            table,
            lambda found, spec=spec: re.sub(  # type: ignore[misc]
                r'^releases = ".*"$', f'releases = "{spec}"', found[0], flags=re.M
            ),
            text,
        )
    (target / FILE).write_text(text, "utf-8")
    catalogue = Catalogue.read(patches / "releases.toml")
    entries = {v: replace(e, row=None) for v, e in catalogue.items() if v <= release}
    (target / "releases.toml").write_text(dump(entries), "utf-8")


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Rehearse; the exit code tells only whether it ran to its end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("release", nargs="*", help="only the steps to these releases (default: to each)")
    add("--prove", action="store_true", help="prove what was carried: minutes for each")
    add("--patches", type=Path, metavar="DIR", help="another series")
    add("--json", action="store_true", help="print every step as JSON")
    add("--out", type=Path, metavar="FILE", help="write that JSON there too, after each step")
    options = parser.parse_args(argv)

    if not options.prove:
        refresher.prove = unproved  # type: ignore[assignment]
    workspace = Workspace.default(options.patches)
    catalogue = Catalogue.read(workspace.catalogue)
    stable = [v for v, e in sorted(catalogue.items()) if e.partner and not v.is_prerelease]
    steps: list[Step] = []
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(workspace, Path(folder), options.prove)
        for before, version in pairwise(stable):
            if options.release and str(version) not in options.release:
                continue
            steps.append(stage.step(before, version))
            if options.out:
                with not_writable_errors(options.out.parent):
                    write_whole(options.out, json.dumps(document(steps), indent=1).encode())
            if not options.json and (steps[-1].proved or steps[-1].result != "applies"):
                print(steps[-1], flush=True)
    if options.json:
        print(json.dumps(document(steps), indent=1))
    else:
        tell(steps, proved=options.prove)


def document(steps: Sequence[Step]) -> dict[str, object]:
    """All steps, and which share of them needed no hand."""
    good = [step for step in steps if step.result in GOOD]
    return {"share": len(good) / max(len(steps), 1), "steps": [asdict(step) for step in steps]}


def tell(steps: Sequence[Step], *, proved: bool) -> None:
    """The sum, for people, and all that somebody has to look at."""
    good = [step for step in steps if step.result in GOOD]
    applied = sum(step.result == "applies" for step in good)
    share = len(good) / max(len(steps), 1)
    print(
        f"{len(good)} of {len(steps)} steps without a hand, {share:.1%} (wanted: {GOAL:.0%}): "
        f"{applied} applied, {len(good) - applied} carried{'' if proved else ', not proved'}"
    )
    for step in steps:
        if step.result not in GOOD:
            print(step)


if __name__ == "__main__":
    sys.exit(main())

"""Small indexes, and what holds of every index at every moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packaging.version import Version
from publishing import MOMENT
from pypi_simple import ProjectPage
from wheels import AGENTS, PLUGIN, contents_of, make_wheel

from toolkit.index.bundle import Bundle
from toolkit.index.ledger import Ledger, Status, StatusChange
from toolkit.index.metapackage import PROJECT, final_metapackage, make_metapackage, release_of
from toolkit.index.pages import render
from toolkit.index.publish import Publication, publish, publish_all
from toolkit.index.staged_wheel import Generated
from toolkit.index.transaction import locked_ledger
from toolkit.proof.verdict import Proof, Verdict
from toolkit.util.errors import ToolkitError
from toolkit.util.files import sha256_of

SERIES = "5e" * 32


def proof_by(wheels: Sequence[Path], release: str, word: str = "publish") -> Proof:
    """A proof of which only the wheels matter."""
    named = {wheel.name: sha256_of(wheel) for wheel in wheels}
    data = json.dumps({"release": release, "verdict": word, "wheels": named}).encode()
    return Proof(release, word, "", named, {}, data)


def pair_bundle(folder: Path, release: str, text: str = "", *, revision: int = 1) -> Bundle:
    """A pair in which the plugin pins its partner, and the metapackage that pins both."""
    version = f"{release}+dispatched.{revision}"
    pin = f"{AGENTS}=={version}"
    wheels = [
        make_wheel(folder, AGENTS, version, {"agents.py": text}),
        make_wheel(folder, PLUGIN, version, {"plugin.py": text}, requires=[pin]),
    ]
    metapackage = make_metapackage(wheels, release=release, revision=revision, series=SERIES)
    return _bundle(wheels, proof_by(wheels, release), metapackage)


def fixed_bundle(folder: Path, release: str) -> Bundle:
    """An official pair that loses nothing, and the metapackage that ends the series."""
    needs = [f"{AGENTS}>={release}"]
    wheels = [
        make_wheel(folder, AGENTS, release),
        make_wheel(folder, PLUGIN, release, requires=needs),
    ]
    proof = proof_by(wheels, release, "fixed")
    return _bundle(wheels, proof, final_metapackage(wheels, release=release), accepted="fixed")


def _bundle(wheels: Sequence[Path], proof: Proof, made: Generated, **rest: Any) -> Bundle:
    texts = dict.fromkeys((*proof.wheels, made.filename), b"{}\n")
    return Bundle.of(wheels, proof, now=MOMENT, generated=[made], statements=texts, **rest)


def make_index(folder: Path, *bundles: Bundle) -> Path:
    """An index at ``folder`` that has ``bundles``."""
    for answer in publish_all(bundles, folder):
        assert not isinstance(answer, ToolkitError), answer
    return folder


def publish_wheels(
    wheels: Sequence[Path], verdict: Verdict, folder: Path, **rest: Any
) -> Publication:
    """Publish wheels by a verdict; ``rest`` goes to :meth:`Bundle.of`."""
    return publish(Bundle.of(wheels, Proof.of(verdict), **rest), folder)


def generated_from(wheel: Path) -> Generated:
    """A wheel file as if it had been generated."""
    stem = "-".join(wheel.name.split("-")[:2])
    metadata = contents_of(wheel)[f"{stem}.dist-info/METADATA"]
    return Generated(wheel.name, wheel.read_bytes(), metadata)


def mark(folder: Path, project: str, status: Status, reason: str = "") -> None:
    """Give a project a status; no verb sets ``archived`` or ``quarantined``."""
    with locked_ledger(folder) as ledger:
        ledger.append(StatusChange("status", project, status, reason, "2026-11-22T15:00:00Z"))


def page_of(index: Path, project: str, form: str = "json") -> ProjectPage:
    """A page as pypi-simple reads it, in one of its two forms."""
    path = index / "simple" / project / f"index.{form}"
    text = path.read_text(encoding="utf-8")
    if form == "html":
        return ProjectPage.from_html(project, text, base_url=path.as_uri())
    return ProjectPage.from_json_data(json.loads(text), base_url=path.as_uri())


def offered(index: Path, project: str, *, yanked: bool = True) -> set[str]:
    """The versions on a page, once every link of it was followed; with ``yanked`` ones or not."""
    if not (index / "simple" / project / "index.html").exists():
        return set()
    packages = page_of(index, project, "html").packages
    for package in packages:
        wheel = index / "files" / package.filename
        metadata = wheel.with_name(f"{wheel.name}.metadata")
        assert package.digests == {"sha256": sha256_of(wheel)}, wheel
        assert package.metadata_digests == {"sha256": sha256_of(metadata)}, wheel
    return {str(package.version) for package in packages if yanked or not package.is_yanked}


def look(index: Path, *, yanked: bool = True) -> int:
    """Look at an index of :func:`pair_bundle` as a client that reads page after page.

    Whatever it sees first, what must be taken with it is there when it asks for that. Returns how
    many versions of the metapackage there are.
    """
    metapackages = offered(index, PROJECT, yanked=yanked)
    agents, plugins = (offered(index, name, yanked=yanked) for name in (AGENTS, PLUGIN))
    for release, revision in (release_of(Version(version)) for version in metapackages):
        wanted = f"{release}+dispatched.{revision}" if revision else str(release)
        assert wanted in agents, "a metapackage without its pair"
    assert agents <= plugins, "a wheel without the partner that pins it"
    return len(metapackages)


def require_whole(index: Path) -> int:
    """The pages are the rendering of the ledger, and nothing is left over; how many wheels."""
    ledger = Ledger.read(index)
    for page, content in render(ledger).items():
        assert (index / page).read_bytes() == content, page
    assert list(index.rglob(".part-*")) == []
    stored = {path.name for path in (index / "files").glob("*.whl")}
    assert stored == set(ledger.files)
    for project in ledger.projects:
        offered(index, project)
    return len(stored)


def contents(index: Path) -> dict[str, bytes]:
    """Every file of an index but its lock."""
    paths = (path for path in index.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(index).as_posix(): path.read_bytes() for path in paths}

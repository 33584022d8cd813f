"""Write what is on PyPI into patches/releases.toml: every release, its official wheels, its plugin.

Running it again changes nothing but what changed on PyPI. A release that PyPI has no more keeps
its table, marked as gone. Which wheels of ours were published for a release stays as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from packaging.version import Version

from toolkit.catalogue import Catalogue, Entry, change
from toolkit.errors import run_verb
from toolkit.pypi import PyPI
from toolkit.verbs import parser, workspace_of


def updated(known: Mapping[Version, Entry], pypi: PyPI) -> dict[Version, Entry]:
    """The entries that are not what PyPI says, as they should be.

    Those later than ``pypi.as_of`` stay as they are, and so do those without official wheels.
    """
    found = {release.version: release for release in pypi.releases()}
    entries = {}
    for version, release in found.items():
        plain = tuple(replace(artefact, url="") for artefact in release.artefacts)
        entries[version] = replace(known.get(version, Entry(version)), official=plain, gone=False)
    for version, entry in known.items():
        if version not in found and entry.official and entry.existed(pypi.as_of):
            entries[version] = replace(entry, gone=True)
    return {version: entry for version, entry in entries.items() if known.get(version) != entry}


def what_changed(before: Entry | None, after: Entry) -> str:
    """What happened to a release, in a few words."""
    partner = f"with plugin {after.partner}" if after.partner else "without a plugin"
    if before is None or not before.official:
        return f"new, {partner}"
    if after.gone:
        return "gone from PyPI"
    if before.yanked is None and after.yanked is not None:
        return f"yanked: {after.yanked or 'no reason given'}"
    if before.partner != after.partner:
        return f"now {partner}"
    return "its wheels changed"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__, releases=False)
    options = arguments.parse_args(argv)

    def body() -> None:
        workspace = workspace_of(options)
        said: dict[str, str] = {}

        def changed(known: Catalogue) -> dict[Version, Entry]:
            new = updated(known, pypi)
            said.update({str(v): what_changed(known.get(v), new[v]) for v in sorted(new)})
            return new

        with PyPI(options.pypi, workspace=workspace, as_of=options.as_of) as pypi:
            change(workspace.catalogue, changed)
        if options.json:
            print(json.dumps(said, indent=1))
        else:
            print(*(f"{version}: {what}" for version, what in said.items()), sep="\n")
            print(f"{len(said)} releases changed" if said else "nothing changed")

    return run_verb(body)


if __name__ == "__main__":
    sys.exit(main())

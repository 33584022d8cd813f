"""An index folder's wheels on a server that takes uploads.

What no upload client knows: the order in which wheels may appear, that a server is believed only
after its own page and its own bytes were read back, and that an attempt which failed half-way may
have succeeded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.index.layout import require_index, require_whole, wheel_of
from toolkit.index.ledger import Ledger, Listed
from toolkit.index.server import Server
from toolkit.util.errors import Unreachable

# Seconds before each further attempt at an upload.
PAUSES = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Mirrored:
    """File names: those that the server took, those it had, and those it is not to get.

    ``withheld`` are yanked or quarantined here and not there: servers cannot be told so.
    """

    uploaded: tuple[str, ...]
    known: tuple[str, ...]
    withheld: tuple[str, ...]


def mirror(
    folder: Path,
    server: Server,
    *,
    dry_run: bool = False,
    ahead: Sequence[Listed] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Mirrored:
    """Upload what the index at ``folder`` offers and ``server`` lacks, in the order of its list.

    Each file is on the server's page, with its own bytes, before the next one is sent: so a wheel
    is never shown without its partner, and a run that was cut goes on where it ended. With
    ``dry_run`` nothing is sent, and ``ahead`` counts as listed. ``tell`` is called with the name
    of each file.

    Raises IndexConflict if the server holds other bytes under a name, or the folder is no index
    or damaged; UploadRefused, Unreachable.
    """
    if not ahead:
        require_index(folder)
    ledger = Ledger.read(folder)
    for entry in ahead:
        ledger.take(entry)
    pages = {project: server.shown(project) for project in ledger.projects}
    known, withheld, missing = [], [], []
    for entry in ledger.files.values():
        package = pages[entry.project].get(entry.filename)
        if package:
            server.require_same(package, entry, bytes_too=False)
            known.append(entry.filename)
        elif ledger.offers(entry):
            missing.append(entry)
        else:
            withheld.append(entry.filename)
    for entry in missing:
        if entry not in ahead:
            require_whole(folder, entry)
        if not dry_run:
            _upload(wheel_of(folder, entry), entry, server)
        tell(entry.filename)
    uploaded = (entry.filename for entry in missing)
    return Mirrored(tuple(uploaded), tuple(known), tuple(withheld))


def _upload(wheel: Path, entry: Listed, server: Server) -> None:
    said = ""
    for pause in (*PAUSES, None):
        said = server.send(wheel)
        try:
            if package := server.shown(entry.project).get(entry.filename):
                server.require_same(package, entry, bytes_too=True)
                return
        except Unreachable as error:
            said = said or error.problem
        if pause is not None:
            time.sleep(pause)
    problem = said or f"it took {entry.filename} and does not show it"
    raise Unreachable(
        f"{server.upload_url} did not take {entry.filename}: {problem}",
        next_step="run the same command again: it goes on where this one ended",
    )

"""Upload an index folder's wheels to a server.

No upload client knows the order in which wheels may appear, that a server is believed only after
its own page and bytes were read back, and that an attempt which failed may have succeeded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.index.layout import require_index, require_undamaged, wheel_path
from toolkit.index.ledger import Ledger, Listed
from toolkit.index.server import Server
from toolkit.util.errors import Unreachable

# Seconds before each further attempt at an upload.
PAUSES = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Mirrored:
    """File names: those uploaded, those the server had, and those it does not get.

    ``withheld`` are yanked or quarantined here and not there: no server can be told so.
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
    log: Callable[[str], None] = lambda name: None,
) -> Mirrored:
    """Upload what the index at ``folder`` offers and ``server`` lacks, in ledger order.

    Each file is on the server's page, with its own bytes, before the next one is sent: no wheel
    is shown without its partner, and a run that was cut goes on where it ended. With ``dry_run``
    nothing is sent, and ``ahead`` counts as listed too. ``log`` is called with each file's name.

    Raises IndexConflict if the server holds other bytes under a name, or the folder is no index
    or damaged; UploadRefused, Unreachable.
    """
    # which files are listed, and which the server shows
    if not ahead:
        require_index(folder)
    ledger = Ledger.read(folder)
    for entry in ahead:
        if entry.filename not in ledger.files:
            ledger.apply(entry)
    pages = {project: server.files_of(project) for project in ledger.projects}
    present, withheld, missing = [], [], []
    for entry in ledger.files.values():
        package = pages[entry.project].get(entry.filename)
        if package:
            server.require_same(package, entry, read_bytes=False)
            present.append(entry.filename)
        elif ledger.offers(entry):
            missing.append(entry)
        else:
            withheld.append(entry.filename)
    # one by one, each read back before the next
    for entry in missing:
        if entry not in ahead:
            require_undamaged(folder, entry)
        if not dry_run:
            _upload(wheel_path(folder, entry), entry, server)
        log(entry.filename)
    uploaded = tuple(entry.filename for entry in missing)
    return Mirrored(uploaded, tuple(present), tuple(withheld))


def _upload(wheel: Path, entry: Listed, server: Server) -> None:
    problem = ""
    for pause in (*PAUSES, None):
        problem = server.send(wheel)
        try:
            if package := server.files_of(entry.project).get(entry.filename):
                server.require_same(package, entry, read_bytes=True)
                return
        except Unreachable as error:
            problem = problem or error.problem
        if pause is not None:
            time.sleep(pause)
    problem = problem or f"it took {entry.filename} and does not show it"
    raise Unreachable(
        f"{server.upload_url} did not take {entry.filename}: {problem}",
        next_step="run the same command again: it goes on where this one ended",
    )

"""Change an index: lock its ledger, append to it, and bring the pages up to date.

The ledger is the truth, and everything below ``simple/`` is a pure function of it. Files are in
place before the ledger names them, so an index is usable at every moment, whatever ends a change.

Clients read one page after another while pages are replaced one after another. So pages that gain
files appear in the order of the ledger: wheels that pin a partner, the partner that they pin, the
metapackage that requires both, and the root. A client that sees a wheel finds all that must be
taken with it. Pages that lose files to a yank are replaced in the opposite order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.index.layout import FOLDERS, read_or_none
from toolkit.index.ledger import LIST, Ledger
from toolkit.index.pages import render
from toolkit.util.errors import IndexConflict, NotWritable
from toolkit.util.files import (
    TEMPORARY,
    fsync_folder,
    not_writable_errors,
    write_together,
    write_whole,
)

LOCK = ".lock"
# Seconds to wait for other publishers, counted anew whenever one of them gets something done.
PATIENCE = 60.0


@contextmanager
def locked_ledger(folder: Path) -> Iterator[Ledger]:
    """Yield the ledger of the index at ``folder`` while no other process can change it.

    The folder is made if it is missing. At the end of the block, also after an error, what was
    added to the ledger is written, then every page that differs from its rendering.

    Raises NotWritable, and IndexConflict if the folder is no index or its ledger is damaged.
    """
    with not_writable_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        require_own_folder(folder)
        with _locked(folder):
            ledger = Ledger.read(folder)
            # what a killed process left behind; nobody else writes while we hold the lock
            for leftover in folder.rglob(f"{TEMPORARY}*"):
                leftover.unlink(missing_ok=True)
            if not (folder / LIST).exists():
                write_whole(folder / LIST, b"")
            text, yanked = ledger.text, set(ledger.yanked)
            try:
                yield ledger
            finally:
                if ledger.text != text:
                    # files survive a loss of power before the ledger names them
                    for part in FOLDERS:
                        fsync_folder(folder / part)
                    write_whole(folder / LIST, ledger.text)
                    fsync_folder(folder)
                _write_pages(folder, ledger, withdrawing=not yanked >= ledger.yanked.keys())


def require_own_folder(folder: Path) -> None:
    """Raise IndexConflict if ``folder`` holds something and is no index."""
    strangers = [
        path.name
        for path in folder.iterdir()
        if path.name not in (LIST, LOCK) and not path.name.startswith(TEMPORARY)
    ]
    # In this order: the ledger comes first in a new index, so a racing publisher is no stranger.
    if strangers and not (folder / LIST).exists():
        raise IndexConflict(
            f"{folder} is not an index of ours: it holds {min(strangers)} and no {LIST}",
            next_step="name an empty folder or an index that publish.py made",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    before = read_or_none(folder / LIST)
    while True:
        try:
            # poll often, as those who wait have no queue
            lock.acquire(timeout=PATIENCE, poll_interval=0.01)
            break
        except Timeout as error:
            if before == (before := read_or_none(folder / LIST)):
                raise NotWritable(
                    f"another publication has held {folder} for {PATIENCE:g} s",
                    next_step="wait for it to end, then run the same command again",
                ) from error
    try:
        yield
    finally:
        lock.release()


def _write_pages(folder: Path, ledger: Ledger, *, withdrawing: bool) -> None:
    pages = render(ledger)
    order = reversed(pages) if withdrawing else iter(pages)
    changed = [page for page in order if read_or_none(folder / page) != pages[page]]
    write_together({folder / page: pages[page] for page in changed})

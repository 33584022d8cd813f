"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from toolkit.util.errors import InvalidWheel, NotWritable, step_after

TEMPORARY = ".part-"
# For more files than that, one sync of everything is quicker than one for each.
_FEW = 64
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def sha256(data: bytes) -> str:
    """Return the digest of ``data`` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def is_dos(text: bytes) -> bool:
    """Return whether every line of ``text`` ends in CRLF."""
    return 0 < text.count(b"\n") == text.count(b"\r\n")


def unix_newlines(text: bytes) -> bytes:
    """Return ``text`` with LF, if every line ends in CRLF."""
    return text.replace(b"\r\n", b"\n") if is_dos(text) else text


def text_of(path: Path) -> bytes:
    """Read a text file of the checkout as the repository has it: git may have made LF CRLF."""
    return unix_newlines(path.read_bytes())


def sha256_of(path: Path) -> str:
    """Return the digest of a file's bytes as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one step; on any failure nothing new stays behind.

    Raises OSError as the file system does; :func:`not_writable_errors` makes it NotWritable.
    """
    write_together({path: data})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files, each in one step, in their order, once all are on the disk.

    Raises as :func:`write_whole`; what had not appeared by then does not.
    """
    drafts: dict[Path, Path] = {}
    all_at_once = len(contents) > _FEW and hasattr(os, "sync")
    for folder in {path.parent for path in contents}:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        for path, data in contents.items():
            drafts[path] = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
            with drafts[path].open("xb") as file:
                file.write(data)
                if not all_at_once:
                    file.flush()
                    os.fsync(file.fileno())
        if all_at_once:
            os.sync()
        for path, draft in drafts.items():
            draft.replace(path)
    except BaseException:
        for draft in drafts.values():
            with suppress(OSError):
                draft.unlink()
        raise


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a loss of power, where the system can promise that."""
    if os.name != "posix" or not folder.is_dir():
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def not_writable_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError inside the block into NotWritable, with the next step that fits it."""
    try:
        yield
    except OSError as error:
        raise NotWritable(
            f"cannot write to {folder}: {error.strerror or error}",
            next_step=step_after(error.errno),
        ) from error


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield an unused path beside ``target``; at the end it takes ``target``'s place at once.

    File or folder. On any error, Ctrl-C included, it is removed and ``target`` stays as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield draft
        draft.replace(target)
    except BaseException:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
        raise


def tree_digest(folder: Path) -> str:
    """Return the sha256 of the files below a folder, names included.

    Caches and hidden files are left out. The ends of lines do not count: git or an archive may
    have changed them.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(map(_left_out, path.relative_to(folder).parts))
    )
    listing = [(path.relative_to(folder).as_posix(), sha256(text_of(path))) for path in files]
    return sha256(json.dumps(listing).encode())


def _left_out(part: str) -> bool:
    return part.startswith(".") or part == "__pycache__"


def require_plain_name(name: str) -> str:
    """Return ``name`` if it is harmless in a path, a link and a page; raises InvalidWheel."""
    if not _PLAIN.fullmatch(name):
        raise InvalidWheel(
            f"{name!r} is no file name for an index",
            next_step="use letters, digits and . _ + - only, as wheels do",
        )
    return name

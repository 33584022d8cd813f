"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import NotWritable

TEMPORARY = ".part-"


def sha256(data: bytes) -> str:
    """The digest of ``data`` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` in one step; on any failure nothing new stays behind.

    Raises OSError as the file system does; see :func:`writing` to turn it into NotWritable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an OSError inside the block into NotWritable, with the next step that fits it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        steps = {
            errno.ENOSPC: "make room there, then run the same command again",
            errno.EDQUOT: "make room there, then run the same command again",
            errno.ENOTDIR: "name a folder, not a file or a path below one",
            errno.EEXIST: "name a folder, not a file or a path below one",
        }
        raise NotWritable(
            f"cannot write to {folder}: {reason}",
            next_step=steps.get(
                error.errno or 0, "make the folder writable or name another, then run again"
            ),
        ) from error

"""A cache on disk, keyed by everything that its entries depend on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from toolkit.util.files import not_writable_errors, sha256, write_whole

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Store:
    """Entries below ``root``, each a file (or a folder) named by the digest of its inputs.

    Inputs are anything that ``json.dumps`` takes. Nothing is ever out of date: other inputs are
    another entry, so put into them the format of the entry and every version that matters.
    """

    root: Path

    def path(self, inputs: object, suffix: str = ".json") -> Path:
        """Return where the entry for ``inputs`` is, or would be."""
        return self.root / f"{digest_of(inputs)}{suffix}"

    def get(
        self, inputs: object, decode: Callable[[bytes], Entry], suffix: str = ".json"
    ) -> Entry | None:
        """Return the decoded entry; None if there is none, or none that can be read.

        ``decode`` says by a ValueError, such as Malformed, that an entry is damaged.
        """
        try:
            return decode(self.path(inputs, suffix).read_bytes())
        except (OSError, ValueError):
            return None

    def put(self, inputs: object, data: bytes, suffix: str = ".json") -> Path:
        """Write an entry, whole or not at all, and return its path. Raises NotWritable."""
        path = self.path(inputs, suffix)
        with not_writable_errors(self.root):
            write_whole(path, data)
        return path


def digest_of(inputs: object) -> str:
    """Return the sha256 of ``inputs`` as JSON with sorted keys, in hex."""
    return sha256(json.dumps(inputs, sort_keys=True).encode())

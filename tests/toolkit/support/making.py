"""The old names of wheels, series and simple_index: import from there."""

from __future__ import annotations

from series import FIELDS, diff, engine_patch, mail, write_series
from simple_index import Index, listening, serving
from wheels import (
    AGENTS,
    ENGINE,
    ENGINE_PATH,
    PLUGIN,
    REALTIME,
    REALTIME_PATH,
    TREES,
    VERSION_FILES,
    contents_of,
    expand,
    members_of,
    record_row,
    requirement_of,
    source,
    write_archive,
)
from wheels import make_official as make_wheel

__all__ = [
    "AGENTS",
    "ENGINE",
    "ENGINE_PATH",
    "FIELDS",
    "PLUGIN",
    "REALTIME",
    "REALTIME_PATH",
    "TREES",
    "VERSION_FILES",
    "Index",
    "contents_of",
    "diff",
    "engine_patch",
    "expand",
    "listening",
    "mail",
    "make_wheel",
    "members_of",
    "record_row",
    "requirement_of",
    "serving",
    "source",
    "write_archive",
    "write_series",
]

"""The names of what a run may break, and of what is only recorded."""

from __future__ import annotations

# the patched release must never break one of these
FLAG = (
    "deleted-in-flight",
    "recreated-in-flight",
    "undeletable",
    "client-call-in-flight",
    "arguments",
    "twice",
    "not-started",
    "flag-on-the-wire",
)
# nor one of these, which say how the series works; another cure need not work so
SHARED = ("another-object",)
# the patched release may break one of these only on a schedule where the official one does
DIFFERENTIAL = (
    "output-lost",
    "timeout",
    "update-failed",
    "refused",
    "mirror-unlike-server",
    "agent-unlike-server",
    "anchor-warning",
    "task-failed",
    "stuck",
)

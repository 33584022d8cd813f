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
    "flag-on-the-wire",
)
# the patched release may break one of these only on a schedule where the official one does
DIFFERENTIAL = (
    "output-lost",
    "not-started",
    "timeout",
    "update-failed",
    "refused",
    "mirror-unlike-server",
    "agent-unlike-server",
    "anchor-warning",
    "task-failed",
    "stuck",
)
# the flag's contract allows these
RECORDED = (
    "deleted-while-running",
    "deleted-after-exit",
    "created-while-running",
    "output-lost-with-connection",
)

"""A stand-in for the proof, which has tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from publishing import proof_of

from toolkit.verdict import Verdict


def judged(word: str) -> Callable[..., Verdict]:
    """A proof that comes to one verdict, whatever it is asked."""

    def prove(official: Any, patched: Any, **inputs: Any) -> Verdict:
        proof = proof_of(list(patched), inputs["release"])
        return Verdict(**{**vars(proof), "verdict": word, "reason": "a test says so"})

    return prove

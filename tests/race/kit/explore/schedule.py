"""A schedule as a short text: ``scenario:moves``, with a number before a move that repeats.

Moves of the server: ``g`` it generates its next event, ``h`` it hears the next client event, ``x``
it hangs up, ``s`` it hears the caller speak, ``v`` it gives its response up without a word, ``a``
it announces its last item once more. Moves of the client: ``d`` the next server event is
delivered, ``A`` to ``Z`` the scenario's operations, ``t`` the oldest running tool returns, ``p``
the speaker plays, ``w`` time passes up to the next timer, ``.`` the event loop ticks once.
A move that is impossible where it stands is skipped: that makes one text mean the same on two
releases. What is left at the end is delivered and handed in, in a fixed order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, pairwise

SERVER_MOVES = frozenset("ghxsva")
_CODED = re.compile(r"(\d*)([ghxsvadtpw.A-Z])")


def encode(moves: Sequence[str]) -> str:
    counted = [(move, len(list(group))) for move, group in groupby(moves)]
    return "".join(f"{count if count > 1 else ''}{move}" for move, count in counted)


def decode(text: str) -> str:
    """Raises ValueError if ``text`` is not a coded schedule."""
    if _CODED.sub("", text):
        raise ValueError(f"{text!r} has something else than moves in it")
    return "".join(move * int(count or 1) for count, move in _CODED.findall(text))


def switches(moves: Sequence[str]) -> int:
    """How often the word passes from one end to the other."""
    ends = [move in SERVER_MOVES for move in moves]
    return sum(one != other for one, other in pairwise(ends))


def weight(moves: Sequence[str]) -> tuple[int, int, str]:
    """What the shortest schedule with the fewest switches has least of; ties by the text."""
    return len(moves), switches(moves), "".join(moves)


def split(schedule: str) -> tuple[str, str]:
    """The scenario's name and the moves of ``scenario:moves``. Raises ValueError."""
    name, colon, coded = schedule.rpartition(":")
    if not colon:
        raise ValueError(f"{schedule!r} is not of the form scenario:moves")
    return name, decode(coded)

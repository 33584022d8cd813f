"""What the verbs are made of. Older Pythons get no further than this file; they can parse it."""

import sys

OLDEST = (3, 11)

if sys.version_info < OLDEST:
    sys.stderr.write(
        "error: livekit-dispatched needs Python {}.{} or newer, and this is {}.{}, {}\n"
        "  next: name a newer one, as in `python3.11 -m nox` or `uvx --python 3.11 nox`\n".format(
            *OLDEST, *sys.version_info[:2], sys.executable
        )
    )
    sys.exit(21)

"""Put proved wheels into a static simple index.

Example:
    python scripts/publish.py --verdict verdict.json --index dist/index WHEEL...
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import NotProved, run_verb
from toolkit.index import consume_lines, publish
from toolkit.strict import Malformed
from toolkit.verdict import Verdict


def read_verdict(path: Path) -> Verdict:
    """The verdict in a file that prove.py wrote.

    Raises NotProved if there is none, or if it is not one that prove.py would write.
    """
    try:
        return Verdict.parse(path.read_text(encoding="utf-8"))
    except (OSError, Malformed, UnicodeDecodeError) as error:
        raise NotProved(
            f"{path} is no verdict: {error}", next_step="write one with prove.py --out"
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Publish the wheels of one release and print how to install them."""
    parser = argparse.ArgumentParser(
        prog="publish.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    parser.add_argument("--verdict", type=Path, required=True, help="what prove.py --out wrote")
    parser.add_argument("--index", type=Path, required=True, help="the index's folder")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    chosen = parser.parse_args(argv)

    def body() -> int:
        verdict = read_verdict(chosen.verdict)
        picture = chosen.verdict.with_suffix(".svg")
        done = publish(chosen.wheels, verdict, chosen.index, picture=picture)
        lines = consume_lines(chosen.index, verdict)
        if chosen.json:
            print(json.dumps({**vars(done), **vars(lines)}, indent=2))
            return 0
        for name in done.new:
            print(f"published      {name}")
        for name in done.known:
            print(f"already there  {name}")
        print(f"pip: {lines.pip}\nuv:  {lines.uv}")
        return 0

    return run_verb(body)


if __name__ == "__main__":
    sys.exit(main())

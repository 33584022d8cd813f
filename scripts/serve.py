"""One index URL for a team: the published index in front, PyPI behind it.

Examples:
    python scripts/serve.py --index dist/index
    python scripts/serve.py --index dist/index --host 0.0.0.0 --port 80

Every project comes whole from one of the two: what the index has, and what the series patches,
never from PyPI. So whatever a client takes from here was proved, or it fails; name no other index
beside this one. It serves until Ctrl-C; what is published meanwhile shows at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import argparse
import json
import socket
from collections.abc import Sequence

from toolkit.cli import Arguments, verb


def parser() -> argparse.ArgumentParser:
    """The command line."""
    new = Arguments(
        prog="serve.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = new.add_argument
    folder = Path("dist/index")
    add("--index", type=Path, default=folder, metavar="DIR", help="default: %(default)s")
    add("--host", default="127.0.0.1", help="where to listen (%(default)s: this machine only)")
    add("--port", type=int, default=8080, help="0 takes a free one (%(default)s)")
    add("--pypi", metavar="URL", help="another simple index behind than PyPI's (a mirror)")
    add("--stream", action="store_true", help="clients need no way to PyPI: pass all on (slow)")
    add("--patches", metavar="DIR", type=Path, help="another series than the repository's own")
    add("--json", action="store_true", help="print the URL as JSON")
    return new


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Serve until Ctrl-C."""
    arguments = parser()
    options = arguments.parse_args(argv)
    # servers are slow to import, and not needed to refuse what they cannot serve
    import uvicorn

    from toolkit.index.layout import require_index
    from toolkit.index.proxy import make_app, reserved_projects, upstream_endpoint
    from toolkit.patches.series import Series
    from toolkit.util.workspace import Workspace

    require_index(options.index)
    reserved = reserved_projects(Series.load(Workspace.default(options.patches).patches))
    app = make_app(options.index, upstream_endpoint(options.pypi), reserved, stream=options.stream)
    try:
        listener = socket.create_server((options.host, options.port))
    except (OSError, OverflowError) as error:
        arguments.error(f"--host {options.host} --port {options.port}: {error}")
    with listener:
        url = f"http://{options.host}:{listener.getsockname()[1]}/simple/"
        document = {"url": url, "never from behind": sorted(reserved)}
        print(json.dumps(document) if options.json else f"{url} until Ctrl-C", flush=True)
        settings = uvicorn.Config(
            app, log_level="warning", lifespan="on", timeout_graceful_shutdown=3
        )
        try:
            uvicorn.Server(settings).run(sockets=[listener])
        except KeyboardInterrupt:
            return  # the way to end it


if __name__ == "__main__":
    sys.exit(main())

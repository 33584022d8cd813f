"""Text that is filled in from a template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.util.markdown import fence

if TYPE_CHECKING:
    import jinja2


def text_template(path: Path) -> jinja2.Template:
    """Load a template of plain text, Markdown or Python, in which nothing is escaped.

    Rendering raises UndefinedError for a name that is not given; ``| fence`` makes a block of
    code that its text cannot end.
    """
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 - no HTML
        loader=jinja2.FileSystemLoader(path.parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["fence"] = fence
    return environment.get_template(path.name)

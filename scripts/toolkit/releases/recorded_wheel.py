"""An official wheel as ``patches/releases.toml`` records it, under its file name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from packaging.utils import parse_wheel_filename

from toolkit.releases.release import Artefact
from toolkit.util.strict_json import OPTIONAL, Malformed


@dataclass(frozen=True)
class RecordedWheel:
    """The keys of its inline table."""

    sha256: str
    size: int
    uploaded: datetime
    requires_python: str | None = field(
        default=None, metadata={**OPTIONAL, "json_name": "requires-python"}
    )
    yanked: str | None = field(default=None, metadata=OPTIONAL)

    def artefact(self, filename: str) -> Artefact:
        """Return the wheel of that name, without an address; raises ValueError."""
        distribution, version, _, _ = parse_wheel_filename(filename)
        if self.uploaded.tzinfo is None:
            raise Malformed(f"{filename} was uploaded at {self.uploaded}, which has no time zone")
        return Artefact(
            distribution=distribution,
            version=str(version),
            filename=filename,
            url="",
            sha256=self.sha256,
            size=self.size,
            upload_time=self.uploaded.astimezone(UTC),
            requires_python=self.requires_python,
            yanked=self.yanked,
        )


def line_of(artefact: Artefact) -> str:
    """Return the line of TOML that records a wheel; the same wheel gives the same bytes."""
    uploaded = artefact.upload_time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    facts = [f'sha256 = "{artefact.sha256}"', f"size = {artefact.size}", f"uploaded = {uploaded}"]
    for key, text in (("requires-python", artefact.requires_python), ("yanked", artefact.yanked)):
        if text is not None:
            # JSON's strings are TOML's basic strings, except that JSON leaves DEL as it is
            quoted = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
            facts.append(f"{key} = {quoted}")
    return f'"{artefact.filename}" = {{ {", ".join(facts)} }}\n'

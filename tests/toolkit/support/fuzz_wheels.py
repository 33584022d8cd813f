"""Mutated wheels. Harmless: another installer reads what we read, and its copy passes the gate."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from fuzzing import NASTY, Fault, Subject, refused, scarred, shuffled
from installer.exceptions import InstallerError
from installer.sources import WheelFile
from making import (
    AGENTS,
    ENGINE,
    PLUGIN,
    REALTIME,
    VERSION_FILES,
    contents_of,
    diff,
    mail,
    make_wheel,
    record_row,
    source,
    write_series,
)
from packaging.version import Version

from toolkit.patches.series import Series
from toolkit.releases.verify import verify_repacked
from toolkit.util.errors import InvalidWheel, ToolkitError
from toolkit.wheels.rewrite import renamed_member
from toolkit.wheels.rewrite import rewrite as repack
from toolkit.wheels.wheelfile import Wheel

LOCAL = Version("1.8.9+dispatched.1")
PATCHED = source(line9="first = 1")
MODULES = {AGENTS: ENGINE, PLUGIN: REALTIME}
NUMBERS = (
    0,
    1,
    2,
    7,
    8,
    0x14,
    0x2D,
    0x33,
    0x41,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
# Offsets and sizes of fields in a local header, a central entry and the end (APPNOTE.TXT 4.3).
FIELDS = {
    b"PK\3\4": (
        (0, 4),
        (4, 2),
        (6, 2),
        (8, 2),
        (10, 4),
        (14, 4),
        (18, 4),
        (22, 4),
        (26, 2),
        (28, 2),
    ),
    b"PK\1\2": (
        *((0, 4), (4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 4), (24, 4), (28, 2)),
        *((30, 2), (32, 2), (34, 2), (36, 2), (38, 4), (42, 4)),
    ),
    b"PK\5\6": ((0, 4), (4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}
# Where a field of the central entry stands in the local header.
TWINS = {8: 6, 10: 8, 12: 10, 16: 14, 20: 18, 24: 22}
HEADERS = (
    *(
        "Name: other\n",
        "Version: 9\n",
        "Version: 1.8.9\n",
        "\n",
        "Requires-Dist:\n livekit-agents\n",
    ),
    *("Requires-Dist: livekit-agents @ https://example.org/x.whl\n", "Tag: py2-none-any\n"),
    *("requires-dist: LiveKit.Agents>=0\n", "Root-Is-Purelib: false\n", "Wheel-Version: 1.9\n"),
    *("Requires-Dist: livekit_plugins_openai (>=0) ; extra == 'x'\n", " folded\n", "no header\n"),
    *("Requires-Dist: livekit-agents" + " " * 20_000 + "@\n", "Requires-Python: <3\n", "Name:\n"),
)
ROWS = (
    ",,\n",
    "a,b\n",
    "../x.py,sha256=x,1\n",
    '"\n',
    "livekit/agents/engine.py,,\n",
    "a,md5=x,1\n",
)


@dataclass(frozen=True)
class _Draft:
    """A member about to be written: its name, content, and what its header is to say."""

    name: str
    content: bytes
    method: int = zipfile.ZIP_DEFLATED
    changes: Mapping[str, object] = field(default_factory=dict)


def subjects(folder: Path, more: Iterable[Path] = ()) -> list[Subject]:
    """The wheel reader, with made wheels for seeds and ``more`` of them."""
    made = folder / "seeds"
    seeds = [
        make_wheel(made, AGENTS, "1.8.9", data={"scripts/run": b"#!python\n"}),
        make_wheel(made, PLUGIN, "1.8.9"),
        _streamed(make_wheel(made / "streamed", PLUGIN, "1.8.9")),
        *more,
    ]
    for name in (AGENTS, PLUGIN):
        (folder / name).mkdir()
    series = {
        name: Series.load(
            write_series(folder / name, {"a": {"1.0": mail(diff(_path(name), source(), PATCHED))}})
        )
        for name in (AGENTS, PLUGIN)
    }
    return [Subject("wheels", lambda random, place: _case(random, place, seeds, series))]


def _path(name: str) -> str:
    tree = name if name == AGENTS else f"livekit-plugins/{name}"
    return f"{tree}/{MODULES[name]}"


def _streamed(path: Path) -> Path:
    """The same wheel, as written to a pipe: sizes stand in descriptors after each member."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents_of(path).items():
            archive.writestr(name, content)
    path.write_bytes(pipe.getvalue())
    return path


def _case(random: Random, folder: Path, seeds: list[Path], series: Mapping[str, Series]) -> str:
    seed = random.choice(seeds)
    data = seed.read_bytes()
    kind = random.choice((_broken, _lying, _lying, _rebuilt, _rebuilt, _reworded))
    path = folder / "case" / (_renamed(random, seed.name) if random.random() < 0.04 else seed.name)
    path.parent.mkdir(exist_ok=True)
    data = kind(random, data, random.choice(seeds).read_bytes())
    try:
        path.write_bytes(data)
    except (OSError, ValueError):
        return "no file of that name can be"
    try:
        wheel = Wheel.open(path)
    except ToolkitError as error:
        if not isinstance(error, InvalidWheel):
            raise Fault(f"{type(error).__name__} for a wheel") from error
        return refused(error)
    finally:
        path.unlink()
    path.write_bytes(data)
    contents = {name: wheel.read(name) for name in wheel.members if name[-1] != "/"}
    objection = _second_reading(path, contents)
    again = _repacked(wheel, contents, folder / "out", series)
    path.unlink()
    if data == seed.read_bytes():
        return "unchanged"
    same = contents == contents_of(seed)
    return f"harmless: {'the same' if same else 'other'} contents, {objection}{again}"


def _second_reading(path: Path, contents: Mapping[str, bytes]) -> str:
    """Hold what pypa's installer would install against what we read."""
    with WheelFile.open(path) as theirs:
        found = {str(row[0]): stream.read() for row, stream, _ in theirs.get_contents()}
        if found != contents:
            odd = {
                name
                for name in found.keys() | contents.keys()
                if found.get(name) != contents.get(name)
            }
            raise Fault(f"installer would install another {odd}")
        try:
            theirs.validate_record()
        except InstallerError:
            return "installer objects to RECORD, "
    return ""


def _repacked(
    wheel: Wheel,
    contents: Mapping[str, bytes],
    out: Path,
    series: Mapping[str, Series],
) -> str:
    name = wheel.distribution
    module = MODULES.get(name, "")
    if name not in series or contents.get(module) != source().encode():
        return "not ours to patch"
    version = Version(f"{wheel.version.public}+dispatched.1")
    pins = {AGENTS if name == PLUGIN else PLUGIN: LOCAL}
    try:
        path = repack(
            wheel,
            {module: PATCHED.encode()},
            version=version,
            pins=pins,
            version_file=VERSION_FILES[name],
            out_dir=out,
        )
        verify_repacked(
            wheel,
            path,
            series=series[name],
            variants=series[name].variants_for(Version("1.8.9")),
            version=version,
            pins=pins,
            version_file=VERSION_FILES[name],
        )
    except ToolkitError as error:
        return f"repacking {refused(error)}"
    wanted = {renamed_member(wheel, n, version): content for n, content in contents.items()}
    found = contents_of(path)
    with WheelFile.open(path) as theirs:
        theirs.validate_record()
    path.unlink()
    edited = {module, VERSION_FILES[name], *(n for n in found if n[-9:] == "/METADATA")}
    edited |= {n for n in found if n.endswith(".dist-info/RECORD")}
    if found[module] != PATCHED.encode() or found.keys() != wanted.keys():
        raise Fault("the copy holds something else")
    if any(found[n] != wanted[n] for n in found.keys() - edited):
        raise Fault("the copy changed what it should carry over")
    return "repacked and inspected"


def _renamed(random: Random, name: str) -> str:
    cut = random.randrange(len(name))
    return (name[:cut] + random.choice(NASTY) + name[cut + random.randrange(3) :]).replace("/", "_")


def _broken(random: Random, data: bytes, other: bytes) -> bytes:
    return scarred(random, data, other)


def _lying(random: Random, data: bytes, other: bytes) -> bytes:
    """One or two header fields that say otherwise; in both headers, or in one."""
    del other
    lies = bytearray(data)
    for _ in range(random.choice((1, 1, 2))):
        signature = random.choice((*FIELDS, b"PK\1\2"))
        places = [at for at in range(len(data)) if data.startswith(signature, at)]
        at = random.choice(places)
        offset, size = random.choice(FIELDS[signature])
        near = int.from_bytes(lies[at + offset : at + offset + size], "little")
        close = (near + 1, abs(near - 1), near ^ (1 << random.randrange(16)))
        value = random.choice((*NUMBERS, *close)) & ((1 << 8 * size) - 1)
        lies[at + offset : at + offset + size] = value.to_bytes(size, "little")
        twin = TWINS.get(offset)
        if signature == b"PK\1\2" and twin is not None and random.random() < 0.7:
            local = struct.unpack_from("<L", data, at + 42)[0] + twin
            lies[local : local + size] = value.to_bytes(size, "little")
    return bytes(lies)


def _rebuilt(random: Random, data: bytes, other: bytes) -> bytes:
    """The same wheel with hostile members, mostly with a RECORD that agrees."""
    del other
    drafts = _drafts(data)
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(drafts))
        draft = drafts[at]
        nasty = random.choice(NASTY)
        stem = draft.name.partition("/")[0].removesuffix(".dist-info")
        match random.randrange(9):
            case 0:
                cut = random.randrange(len(draft.name) + 1)
                drafts[at] = replace(draft, name=draft.name[:cut] + nasty + draft.name[cut:])
            case 1:
                drafts.insert(at, _Draft(nasty, b"import os\n"))
            case 2:
                name = draft.name
                twins = (name.upper(), name.title(), name.swapcase(), f"{name}.", f"{name} ")
                drafts.append(_Draft(random.choice(twins), b"import os\n"))
            case 3:
                top = random.choice((f"{stem}.data", "x.data", stem.upper() + ".data"))
                root = random.choice(("purelib", "platlib", "data/lib/site-packages", "scripts"))
                drafts.append(_Draft(f"{top}/{root}/{draft.name}", b"import os\n"))
            case 4:
                mode = random.choice((0o120777, 0o040755, 0o010644, 0o104755, 0o100755, 0))
                drafts[at] = replace(draft, changes={"external_attr": mode << 16})
            case 5:
                extra = struct.pack("<HHBL", random.choice((1, 0x7075, 0x5455, 0x6375)), 5, 1, 9)
                drafts[at] = replace(draft, changes={random.choice(("extra", "comment")): extra})
            case 6:
                drafts[at] = replace(draft, method=random.choice((0, 8, 12, 14)))
            case 7:
                drafts.append(draft)
            case _:
                drafts.append(_Draft(f"{draft.name}/x.py", b"import os\n"))
    return _written(random, drafts, honest=random.random() < 0.8)


def _reworded(random: Random, data: bytes, other: bytes) -> bytes:
    """The same wheel with other words in METADATA, WHEEL, RECORD or a module."""
    del other
    drafts = _drafts(data)
    wanted = random.choice(("METADATA", "METADATA", "WHEEL", "RECORD", ".py"))
    at = random.choice([n for n, draft in enumerate(drafts) if draft.name.endswith(wanted)])
    text = drafts[at].content.decode()
    new = shuffled(random, text, ROWS if wanted == "RECORD" else HEADERS)
    drafts[at] = replace(drafts[at], content=new.encode("utf-8", "surrogatepass"))
    return _written(random, drafts, honest=wanted != "RECORD")


def _drafts(data: bytes) -> list[_Draft]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [_Draft(info.filename, archive.read(info)) for info in archive.infolist()]


def _written(random: Random, drafts: list[_Draft], *, honest: bool) -> bytes:
    record = next((d.name for d in drafts if d.name.endswith(".dist-info/RECORD")), None)
    if honest and record:
        others = [draft for draft in drafts if draft.name != record]
        lines = [",".join(_quoted(cell) for cell in record_row(d.name, d.content)) for d in others]
        text = "".join(f"{line}\n" for line in (*dict.fromkeys(lines), f"{record},,"))
        drafts = [*others, _Draft(record, text.encode("utf-8", "surrogatepass"))]
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")
        for draft in drafts:
            info = zipfile.ZipInfo("x", (2020, 2, 2, 0, 0, 0))
            info.filename = info.orig_filename = draft.name.encode("utf-8", "replace").decode()
            info.compress_type = draft.method
            info.external_attr = 0o100644 << 16
            for name, value in draft.changes.items():
                setattr(info, name, value)
            archive.writestr(info, draft.content, draft.method)
    data = out.getvalue()
    return scarred(random, data) if random.random() < 0.05 else data


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set('",\r\n') else cell

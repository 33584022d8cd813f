"""A picture as one SVG file: no script, no font and nothing else from elsewhere, light and dark."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from html import escape

from .picture import LANES, Arrow, Note, Picture, Row

WIDTH = 960
_X = {"server": 70, "mirror": 390, "agent": 660, "tool": 830}
_RIGHT = 950
_LINE, _GAP, _TOP = 15, 8, 92
_CHARACTER = 7.3  # of a 12 px monospaced font, generously
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = """
svg{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--quiet:#6a7480;--line:#c3cad2;
--call:#0969da;--loss:#cf222e;--kept:#1a7f37;--box:#f3f5f8}
@media(prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--quiet:#8d96a0;--line:#3d444d;
--call:#4493f8;--loss:#ff7b72;--kept:#56d364;--box:#1c222b}}
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
fill:var(--ink);white-space:pre}
.title{font-weight:700}.lane{font-size:13px;font-weight:700;text-anchor:middle}
.what{text-anchor:middle}.what,.quiet{fill:var(--quiet)}.loss{fill:var(--loss);font-weight:700}
.kept{fill:var(--kept)}.paper{fill:var(--paper)}.box{fill:var(--box);stroke:var(--line)}
line{stroke:var(--line);stroke-width:1.5}line.call{stroke:var(--call);stroke-width:7;
stroke-linecap:round}line.arrow{stroke:var(--ink)}line.arrow.loss{stroke:var(--loss);stroke-width:2.5}
line.cut{stroke-dasharray:3 4}path{fill:var(--ink)}path.loss{fill:var(--loss)}
""".strip()


def svg(picture: Picture) -> str:
    """The picture as a standalone document; equal pictures give equal text."""
    body: list[str] = []
    heavy: list[tuple[int, frozenset[str]]] = []
    top = _TOP
    for row in picture.rows:
        parts, bottom = _row(row, picture.lanes, top)
        body += parts
        heavy.append((top, row.heavy))
        top = bottom
    heavy.append((top, frozenset()))
    end = top + 6
    foot = [line for sentence in picture.caption for line in _wrap(sentence, _RIGHT - 20)]
    foot.append("A lifeline is thick while that side knows the call, or runs its tool.")
    captions = [
        _text(20, end + 24 + number * 17, line, "quiet" if number == len(foot) - 1 else "")
        for number, line in enumerate(foot)
    ]
    height = end + 24 + len(foot) * 17
    name = f"<title>{_safe(picture.title)}</title><desc>{_safe(' '.join(picture.caption))}</desc>"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img">',
            name,
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
            _text(20, 24, textwrap.shorten(picture.title, 125, placeholder=" …"), "title"),
            *(_lane(lane, end) for lane in picture.lanes),
            *_bars(heavy, picture.lanes),
            *body,
            *captions,
            "</svg>\n",
        ]
    )


def _lane(lane: str, end: int) -> str:
    x = _X[lane]
    return (
        f'<line x1="{x}" y1="{_TOP - 14}" x2="{x}" y2="{end}"/>'
        f'<rect class="box" x="{x - 62}" y="{_TOP - 54}" width="124" height="40" rx="6"/>'
        + _text(x, _TOP - 38, lane, "lane")
        + _text(x, _TOP - 22, LANES[lane], "what")
    )


def _bars(moments: list[tuple[int, frozenset[str]]], lanes: tuple[str, ...]) -> Iterator[str]:
    """The stretches in which a lifeline is thick."""
    for lane in lanes:
        begin = None
        for top, heavy in moments:
            if lane in heavy and begin is None:
                begin = top
            elif lane not in heavy and begin is not None:
                x = _X[lane]
                yield f'<line class="call" x1="{x}" y1="{begin + 4}" x2="{x}" y2="{top - 4}"/>'
                begin = None


def _row(row: Row, lanes: tuple[str, ...], top: int) -> tuple[list[str], int]:
    """What a row draws, and where the next begins."""
    if row.divider:
        y = top + _LINE
        label = textwrap.shorten(row.divider, 110, placeholder=" …")
        left, width = _X["mirror"] + 12, (len(label) + 1) * _CHARACTER
        return [
            f'<line class="cut" x1="20" y1="{y}" x2="{_RIGHT}" y2="{y}"/>',
            f'<rect class="paper" x="{left}" y="{y - 10}" width="{width:g}" height="20"/>',
            _text(left + 4, y + 4, label, "quiet"),
        ], top + 2 * _LINE
    parts: list[str] = []
    bottom = y = top
    if row.arrow:
        drawn, y = _arrow(row.arrow, top)
        parts += drawn
        bottom = y + _GAP
    for note in row.notes:
        base = y + 4 if row.arrow else top + _LINE
        for number, line in enumerate(_wrap(note.text, _room(note, lanes))):
            parts.append(_text(_X[note.lane] + 12, base + number * _LINE, line, note.tone))
            bottom = max(bottom, base + number * _LINE + _GAP)
    return parts, bottom


def _arrow(arrow: Arrow, top: int) -> tuple[list[str], int]:
    """The label above, and the shaft with its head; and where that is."""
    begin, end = _X[arrow.source], _X[arrow.target]
    way = 1 if end > begin else -1
    left = min(begin, end) + 12
    lines = _wrap(arrow.label, abs(end - begin) - 20)
    parts = [
        _text(left, top + _LINE + number * _LINE, line, arrow.tone)
        for number, line in enumerate(lines)
    ]
    y = top + len(lines) * _LINE + 7
    shaft, tip = begin + 5 * way, end - 5 * way
    tone = f" {arrow.tone}" if arrow.tone else ""
    parts.append(
        f'<line class="arrow{tone}" x1="{shaft}" y1="{y}" x2="{tip - 8 * way}" y2="{y}"/>'
        f'<path class="{arrow.tone}" d="M{tip} {y}l{-10 * way} -5v10z"/>'
    )
    return parts, y


def _room(note: Note, lanes: tuple[str, ...]) -> int:
    right = [_X[lane] for lane in lanes if _X[lane] > _X[note.lane]]
    return min([*right, _RIGHT]) - _X[note.lane] - 20


def _text(x: int, y: int, what: str, tone: str = "") -> str:
    kind = f' class="{tone}"' if tone else ""
    return f'<text{kind} x="{x}" y="{y}">{_safe(what)}</text>'


def _wrap(what: str, pixels: int) -> list[str]:
    return textwrap.wrap(what, max(int(pixels / _CHARACTER), 1), break_on_hyphens=False)


def _safe(what: str) -> str:
    return escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", what))

"""``forward.py``: mails that upstream can apply, and a report whose script shows the loss."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import git
import pytest
from packaging.version import Version
from publishing import explored, findings
from series import diff, mail, write_series
from upstream_index import Upstream
from wheels import ENGINE_PATH, REALTIME_PATH, source

from toolkit.environments.environment import Environment, Environments
from toolkit.forward import bug_report, proposal
from toolkit.forward.bug_report import KEPT, LOST, SCHEDULE, SCRIPT, Demonstration
from toolkit.forward.mails import Clone, Sender, check_mails, write_mails
from toolkit.patches.git_repo import Repository
from toolkit.patches.notices import without_notices
from toolkit.patches.series import Series
from toolkit.proof import replay as replay_module
from toolkit.proof.exploration import LOSS, Violation
from toolkit.releases.official import Settings
from toolkit.releases.repack import repack_release
from toolkit.util.errors import NotProved, PatchConflict, UnknownRelease
from toolkit.util.workspace import REPOSITORY, Workspace

NOTICE = "# Modified by somebody: calls survive.\n"
FILES = {ENGINE_PATH: source().encode(), REALTIME_PATH: source().encode()}
# a patch that touches both files, and one on top of it that touches the first line's neighbours
FIRST = {path: source(line1=f"{NOTICE}value_1 = 1", line9="first = 1") for path in FILES}
SECOND = source(line1=f"{NOTICE}value_1 = 1", line2="second = 2", line9="first = 1")
PATCHED = {
    ENGINE_PATH: source(line2="second = 2", line9="first = 1").encode(),
    REALTIME_PATH: source(line9="first = 1").encode(),
}
CUTOFF = "2026-01-01T12:00:01Z"


@pytest.fixture
def series(upstream: Upstream) -> Series:
    """Two patches for 1.8.9, which is released."""
    upstream.upload("1.8.9")
    guard = mail(*(diff(path, source(), FIRST[path]) for path in FILES), subject="Guard the calls")
    widen = mail(diff(ENGINE_PATH, FIRST[ENGINE_PATH], SECOND), subject="Widen the guard")
    patches = {"guard": {"1.0": guard}, "widen": {"1.0": widen}}
    return Series.load(write_series(upstream.workspace.patches, patches))


@pytest.fixture
def mails(series: Series, tmp_path: Path) -> Callable[..., tuple[Path, ...]]:
    """Write the mails of the series, each time into a folder of its own."""
    variants = series.variants_for(Version("1.8.9"))
    number = count()

    def write(
        subject: str = "calls are lost", text: str = "Why.\n\nHow.", **sender: Any
    ) -> tuple[Path, ...]:
        out = tmp_path / f"mails{next(number)}"
        letter = (subject, text)
        return write_mails(variants, FILES, out / "work", out, letter, Sender(**sender))

    return write


def texts(paths: Sequence[Path]) -> list[str]:
    return [path.read_text("utf-8") for path in paths]


def test_the_mails_say_what_upstream_needs_and_no_more(mails: Any) -> None:
    written = mails()
    assert [path.name for path in written] == [
        "0000-cover-letter.patch",
        "0001-Guard-the-calls.patch",
        "0002-Widen-the-guard.patch",
    ]
    cover, first, second = texts(written)
    assert "Subject: [PATCH 0/2] calls are lost\n" in cover
    assert "\n\nWhy.\n\nHow.\n\n" in cover
    who = "From: A Maintainer <maintainer@example.org>\nDate: Sun, 22 Nov 2026 12:00:00 +0000\n"
    for text in (cover, first, second):
        assert who in text
        assert not re.search(r"\*\*\*|Modified by|Origin:|Last-Update:", text)
    assert "Subject: [PATCH 1/2] Guard the calls\n\nWhy it is so.\n---\n" in first
    assert f"+++ b/{REALTIME_PATH}\n" in first
    assert texts(mails()) == texts(written)


@pytest.mark.parametrize(
    ("subject", "text", "sender", "author"),
    [
        ("calls are lost", "Why.", {"author": "Zoë Ä <zoe@example.org>", "reroll": 2}, "Zoë Ä"),
        ("Zoës calls are lost", "Why ─▶ how.", {}, "A Maintainer"),
        # its header is folded
        ("calls are lost", "Why.", {"author": f"{'Ä' * 90} <zoe@example.org>"}, "Ä" * 90),
    ],
)
def test_who_sends_them_and_in_which_encoding(
    mails: Any, subject: str, text: str, sender: Mapping[str, Any], author: str
) -> None:
    written = mails(subject, text, **sender)
    version = "v2" if "reroll" in sender else ""
    assert all(path.name.startswith(version or "000") for path in written)
    messages = [message_from_bytes(path.read_bytes(), policy=policy.compat32) for path in written]
    # as git writes it (RFC 2047), in the cover letter too
    assert {message["From"] for message in messages} == {messages[1]["From"]}
    assert str(make_header(decode_header(messages[0]["From"]))).startswith(f"{author} <")
    assert messages[0]["Date"] == messages[1]["Date"]
    for mail_text in texts(written):
        head, _, body = mail_text.partition("\n\n")
        assert head.isascii()
        assert len(re.findall(r"^From: ", mail_text, re.M)) == 1
        assert body.isascii() or "charset=UTF-8\nContent-Transfer-Encoding: 8bit" in head
        assert ("maintainer@example.org" in mail_text) == (author == "A Maintainer")
    cover = message_from_bytes(written[0].read_bytes(), policy=policy.default)
    assert cover["Subject"] == f"[PATCH{' v2' * bool(version)} 0/2] {subject}"
    assert cover.get_content().startswith(f"{text}\n")


def test_they_apply_where_they_should(mails: Any, tmp_path: Path) -> None:
    written = mails()[1:]
    check_mails(written, FILES, tmp_path / "tree", "upstream")
    assert {path: (tmp_path / "tree" / path).read_bytes() for path in FILES} == PATCHED
    moved = {**FILES, ENGINE_PATH: source(line10="other = 0").encode()}
    with pytest.raises(PatchConflict, match=f"do not apply to a branch: error: .*{ENGINE_PATH}"):
        check_mails(written, moved, tmp_path / "other", "a branch")


def test_a_clone_of_upstream(tmp_path: Path) -> None:
    path = tmp_path / "clone"
    path.mkdir()
    repository = Repository.create(path)
    tip = repository.commit_files("refs/heads/main", FILES)
    repository.commit_files("refs/heads/other", {ENGINE_PATH: b"x\n"})
    with git.Repo(path) as opened:
        opened.create_tag("livekit-agents@1.8.9", ref=tip)
    bare = tmp_path / "bare.git"
    git.Repo.clone_from(str(path), str(bare), bare=True, no_hardlinks=True).close()
    for place in (path, bare):
        assert Clone(place, "livekit-agents@1.8.9").files(sorted(FILES)) == FILES
    assert Clone(path, "other").files(sorted(FILES)) == {ENGINE_PATH: b"x\n"}
    for missing in (Clone(path, "livekit-agents@9"), Clone(tmp_path / "none", "main")):
        with pytest.raises(UnknownRelease, match="has no "):
            missing.files(sorted(FILES))


def test_every_variant_of_the_series_can_do_without_its_notice() -> None:
    series = Series.load(REPOSITORY / "patches")
    noticed = 0
    for since in {since for patch in series.patches for since in patch.variants}:
        for variant in series.variants_for(since):
            noticed += b"\n+# Modified by" in variant.data
            assert not any("Modified by" in str(c.diff) for c in without_notices(variant))
    assert noticed


# -- the report ---------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Environment, ...]:
    """Two interpreters that differ in nothing but their name."""
    made = []
    for name in ("official", "patched"):
        python = tmp_path / name / "python"
        python.parent.mkdir()
        python.write_text(f'#!/bin/sh\nSIDE={name} exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        made.append(Environment(python.parent, python, "3.11.0"))
    return tuple(made)


@pytest.mark.parametrize(
    ("official", "patched", "problem"),
    [
        (KEPT, KEPT, "on the official wheels the call is not lost"),
        (LOST, LOST, "on the patched wheels the call is not kept"),
        (2, KEPT, "on the official wheels the call is not lost"),
    ],
)
def test_there_is_nothing_to_report_without_a_loss(
    pair: tuple[Environment, ...], tmp_path: Path, official: int, patched: int, problem: str
) -> None:
    script = tmp_path / SCRIPT
    codes = {"official": official, "patched": patched}
    script.write_text(f"import os\nprint('so')\nraise SystemExit({codes}[os.environ['SIDE']])")
    with pytest.raises(NotProved, match=f"{problem}:\nso"):
        bug_report.demonstrate(script, pair, None)


OTHER = "agent/openai/call/other:1"


@pytest.mark.parametrize(
    ("shortest", "losing", "drawn"),
    [
        (OTHER, {OTHER, SCHEDULE}, (OTHER, True)),
        (SCHEDULE, {SCHEDULE}, (SCHEDULE, True)),
        # it loses nothing here: the script's own does
        (OTHER, {SCHEDULE}, (SCHEDULE, False)),
        (None, {SCHEDULE}, (SCHEDULE, False)),
        (OTHER, set(), None),
    ],
)
def test_the_shortest_schedule_that_a_proof_found_is_drawn(
    pair: tuple[Environment, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shortest: str | None,
    losing: set[str],
    drawn: tuple[str, bool] | None,
) -> None:
    def replay(_: Path, places: object, schedule: str, **__: object) -> list[Any]:
        violations = {LOSS: 1} if schedule in losing else {}
        return [SimpleNamespace(violations=violations, text=f"│ {schedule}\n", trouble="no")]

    monkeypatch.setattr(replay_module, "replay", replay)
    script = tmp_path / SCRIPT
    script.write_text("import os\nraise SystemExit(os.environ['SIDE'] == 'official')")
    lost = replace(findings({}), violations={LOSS: Violation("flag", 3, shortest or "")})
    exploration = explored(official=lost).exploration if shortest else None
    if drawn is None:
        with pytest.raises(NotProved, match=r"3g3dAh loses no call here\. no"):
            bug_report.demonstrate(script, pair, exploration)
        return
    demonstration = bug_report.demonstrate(script, pair, exploration)
    assert (demonstration.schedule, demonstration.shortest) == drawn
    assert demonstration.picture == f"│ {demonstration.schedule}"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Demonstration without environments."""
    demonstration = Demonstration("3.11.0", "all LOST", "all kept", "a:1", "│ a picture")
    monkeypatch.setattr(proposal, "prepare", lambda *_: ())
    monkeypatch.setattr(bug_report, "demonstrate", lambda *_: demonstration)


@pytest.mark.usefixtures("quick", "series")
def test_the_verb(upstream: Upstream, tmp_path: Path) -> None:
    out, other = tmp_path / "forward", tmp_path / "other"
    arguments = ("--author", "A Sender <a@example.org>", "--json")
    assert upstream.run("forward", "1.8.9", "--out", out, *arguments).json == {
        "release": "1.8.9",
        "files": sorted(str(path) for path in out.iterdir()),
        "applies": ["the official files of 1.8.9"],
        "schedule": "a:1",
        "shortest": False,
    }
    report = (out / "report.md").read_text()
    for text in (
        *("# w\n", "uv run lost_call.py", CUTOFF, "all LOST", "all kept", "a picture"),
        "`a:1`\n(the schedule of the script)\n",
        "1. Guard the calls: w\n2. Widen the guard: w\n",
    ):
        assert text in report
    head = (out / SCRIPT).read_text().partition("# ///\n")[0]
    assert '"livekit-agents==1.8.9", "livekit-plugins-openai==1.8.9"' in head
    assert f'exclude-newer = "{CUTOFF}"' in head
    # again, over what it wrote itself
    upstream.run("forward", "1.8.9", "--out", out, "--reroll", 2)
    assert (out / "v2-0000-cover-letter.patch").is_file()
    assert not (out / "0000-cover-letter.patch").exists()
    # but over nothing else, such as mails of somebody's own
    other.mkdir()
    for path in (out / "mine.txt", other / "0001-My-own-work.patch"):
        path.write_text("x")
        ran = upstream.run("forward", "1.8.9", "--out", path.parent, code=20)
        assert f"holds something else: {path.name}" in ran.err
        assert path.read_text() == "x"


@pytest.mark.usefixtures("quick", "series")
def test_nothing_half_done_stays(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NotProved("no loss", next_step="rejoice")

    out = tmp_path / "out" / "a"
    upstream.run("forward", "1.8.9", "--out", out, "--repo", tmp_path / "none", code=10)
    monkeypatch.setattr(bug_report, "demonstrate", fail)
    assert "no loss" in upstream.run("forward", "1.8.9", "--out", out, code=18).err
    assert list(out.parent.iterdir()) == []
    upstream.run("forward", "1.8.9", "--author", "nobody", code=2)


def test_the_report_says_which_schedule_is_drawn(upstream: Upstream, series: Series) -> None:
    release = Settings(upstream.workspace).fetch("1.8.9").release
    demonstration = Demonstration("3.11.0", "", "", "b:2", "│", shortest=True)
    text = bug_report.report(release, series, (), demonstration, ("1 of 2 tests", "0 of 2 tests"))
    assert (
        "The shortest schedule that loses a call, of all that were tried, in simulated time:\n"
        f"`b:2`\n(the script's own is `{SCHEDULE}`)\n"
    ) in text
    assert "loses calls\nin 1 of 2 tests without the patches, and in 0 of 2 tests with them" in text


def test_a_script_that_cannot_import_says_nothing_of_a_loss(
    upstream: Upstream, tmp_path: Path
) -> None:
    upstream.upload("1.8.9")
    script = tmp_path / SCRIPT
    script.write_text(bug_report.script_for(Settings(upstream.workspace).find("1.8.9")), "utf-8")
    (tmp_path / "aiohttp.py").write_text("raise TypeError('of another day')")
    ran = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True)
    problem = "the wheels cannot be imported: TypeError('of another day')"
    assert (ran.returncode, ran.stdout) == (2, f"neither lost nor kept: {problem}\n")


@pytest.mark.pypi
def test_the_script_shows_the_loss_with_nothing_but_the_wheels(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cache")
    official = Settings(workspace).fetch("1.8.9")
    script = tmp_path / SCRIPT
    text = bug_report.script_for(official.release)
    script.write_text(text, "utf-8")
    assert text.count("\n") <= 165
    imported = set(re.findall(r"^ *(?:import|from) (\w+)", text, re.M))
    assert imported - sys.stdlib_module_names == {"aiohttp", "livekit"}
    made = repack_release(official, Series.load(workspace.patches), workspace)
    for wheels, code, line in (
        (made.official, LOST, "LOST: livekit-agents 1.8.9"),
        ((*made.wheels, *made.passthrough), KEPT, "kept: livekit-agents 1.8.9+dispatched."),
    ):
        place = Environments(workspace.environments).prepare(
            wheels, uploaded=official.release.uploaded, extra=()
        )
        assert "pytest" not in place.distributions()
        ran = subprocess.run([place.python, script], check=False, capture_output=True, text=True)
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert ran.stdout.splitlines()[-1].startswith(line)

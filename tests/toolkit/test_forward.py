"""``forward.py``: mails that upstream can apply, and a report whose script shows the loss."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import git
import pytest
from making import (
    AGENTS,
    ENGINE_PATH,
    PLUGIN,
    REALTIME_PATH,
    Index,
    diff,
    mail,
    make_wheel,
    members_of,
    source,
    write_series,
)
from packaging.version import Version
from publishing import explored, findings

import forward as verb
from toolkit.environments.environment import Environment, Environments
from toolkit.forward import bug_report
from toolkit.forward.bug_report import KEPT, LOST, SCHEDULE, SCRIPT, Evidence
from toolkit.forward.mails import check_mails, files_at, official_files, write_mails
from toolkit.patches.git_repo import Repository
from toolkit.patches.notices import without_notices
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.proof import replay as replay_module
from toolkit.proof.exploration import LOSS, Violation
from toolkit.releases.official import fetch_release
from toolkit.releases.repack import repack_release
from toolkit.util.errors import NotProved, PatchConflict, UnknownRelease
from toolkit.util.workspace import CACHE_VARIABLE, REPOSITORY, Workspace

NOTICE = "# Modified by somebody: calls survive.\n"
FILES = {ENGINE_PATH: source().encode(), REALTIME_PATH: source().encode()}
# an idea that touches both files, and one on top of it that touches the first line's neighbours
FIRST = {path: source(line1=f"{NOTICE}value_1 = 1", line9="first = 1") for path in FILES}
SECOND = source(line1=f"{NOTICE}value_1 = 1", line2="second = 2", line9="first = 1")
PATCHED = {
    ENGINE_PATH: source(line2="second = 2", line9="first = 1").encode(),
    REALTIME_PATH: source(line9="first = 1").encode(),
}


@pytest.fixture
def here(index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: Any) -> Workspace:
    """Release 1.8.9, fetched, and a series of two patches for it."""
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    for name in (AGENTS, PLUGIN):
        index.add(make_wheel(tmp_path / "w", name, "1.8.9"), datetime(2026, 1, 2, tzinfo=UTC))
    guard = mail(*(diff(path, source(), FIRST[path]) for path in FILES), subject="Guard the calls")
    widen = mail(diff(ENGINE_PATH, FIRST[ENGINE_PATH], SECOND), subject="Widen the guard")
    write_series(workspace.patches, {"guard": {"1.8.9": guard}, "widen": {"1.8.9": widen}})
    fetch_release("1.8.9", workspace)
    return workspace


@pytest.fixture
def variants(here: Workspace) -> tuple[Variant, ...]:
    return Series.load(here.patches).variants_for(Version("1.8.9"))


@pytest.fixture
def mails(variants: tuple[Variant, ...], tmp_path: Path) -> Callable[..., tuple[Path, ...]]:
    def write(name: str = "out", **options: Any) -> tuple[Path, ...]:
        words = {"subject": "calls are lost", "blurb": "Why.\n\nHow.\n", **options}
        return write_mails(variants, FILES, tmp_path / f"{name}-work", tmp_path / name, **words)

    return write


def texts(paths: tuple[Path, ...]) -> list[str]:
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
        assert "***" not in text
        assert not any(word in text for word in ("Modified by", "Origin:", "Last-Update:"))
    assert "Subject: [PATCH 1/2] Guard the calls\n\nWhy it is so.\n---\n" in first
    assert f"+++ b/{REALTIME_PATH}\n" in first
    assert texts(mails("again")) == texts(written)


def test_who_sends_them_and_how_often(mails: Any) -> None:
    written = mails(author="Zoë Ä <zoe@example.org>", reroll=2)
    assert [path.name[:8] for path in written] == ["v2-0000-", "v2-0001-", "v2-0002-"]
    assert "Subject: [PATCH v2 0/2]" in texts(written)[0]
    senders = [re.findall(r"^From: .*", text, re.M) for text in texts(written)]
    # one, as git writes it (RFC 2047), in the cover letter too
    assert senders == [["From: =?UTF-8?q?Zo=C3=AB=20=C3=84?= <zoe@example.org>"]] * 3
    for text in texts(written):
        head, _, body = text.partition("\n\n")
        assert head.isascii()
        assert body.isascii() or "charset=UTF-8\nContent-Transfer-Encoding: 8bit" in head
        assert "maintainer@example.org" not in text


def test_a_cover_letter_that_is_not_ascii_says_so(mails: Any) -> None:
    name = "Ä" * 90
    one = mails("one", subject="Zoës calls are lost", blurb="Why ─▶ how.")
    two = mails("two", author=f"{name} <zoe@example.org>")
    for written, sender in ((one, "A Maintainer"), (two, name)):
        read = [message_from_bytes(path.read_bytes(), policy=policy.compat32) for path in written]
        # folded or not
        assert {mail["From"] for mail in read} == {read[1]["From"]}
        assert str(make_header(decode_header(read[0]["From"]))).startswith(f"{sender} <")
        assert read[0]["Date"] == read[1]["Date"]
        assert (read[0].get_content_charset(), read[0]["Content-Transfer-Encoding"]) == (
            "utf-8",
            "8bit",
        )
    cover = message_from_bytes(one[0].read_bytes(), policy=policy.default)
    assert cover["Subject"] == "[PATCH 0/2] Zoës calls are lost"
    assert cover.get_content().startswith("Why ─▶ how.\n")


def test_they_apply_where_they_should(mails: Any, tmp_path: Path) -> None:
    written = mails()
    check_mails(written[1:], FILES, tmp_path / "tree", "upstream")
    found = {path: (tmp_path / "tree" / path).read_bytes() for path in FILES}
    assert found == PATCHED
    moved = {**FILES, ENGINE_PATH: source(line10="other = 0").encode()}
    with pytest.raises(PatchConflict, match=f"do not apply to a branch: error: .*{ENGINE_PATH}"):
        check_mails(written[1:], moved, tmp_path / "other", "a branch")


def test_official_files_have_the_repository_s_line_ends(
    here: Workspace, variants: tuple[Variant, ...], index: Index, tmp_path: Path
) -> None:
    when = datetime(2026, 2, 1, tzinfo=UTC)
    for name in (AGENTS, PLUGIN):
        dos = {
            path: data.replace(b"\n", b"\r\n") if path.endswith(".py") else data
            for path, data in members_of(name, "1.8.10").items()
        }
        index.add(make_wheel(tmp_path / "w", name, "1.8.10", members=dos), when)
    series = Series.load(here.patches)
    for release in ("1.8.9", "1.8.10"):
        assert official_files(fetch_release(release, here), series, variants) == FILES


def test_a_clone_of_upstream(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    repository = Repository.create(clone)
    tip = repository.commit_files("refs/heads/main", FILES)
    repository.commit_files("refs/heads/other", {ENGINE_PATH: b"x\n"})
    with git.Repo(clone) as opened:
        opened.create_tag("livekit-agents@1.8.9", ref=tip)
    bare_clone = tmp_path / "bare.git"
    git.Repo.clone_from(str(clone), str(bare_clone), bare=True, no_hardlinks=True).close()
    for place in (clone, bare_clone):
        assert files_at(place, "livekit-agents@1.8.9", sorted(FILES)) == FILES
    assert files_at(clone, "other", sorted(FILES)) == {ENGINE_PATH: b"x\n"}
    for place, ref in ((clone, "livekit-agents@9"), (tmp_path / "none", "main")):
        with pytest.raises(UnknownRelease, match="has no "):
            files_at(place, ref, sorted(FILES))


def test_every_variant_of_the_series_can_do_without_its_notice() -> None:
    series = Series.load(REPOSITORY / "patches")
    noticed = 0
    for patch in series.patches:
        for since in patch.variants:
            (variant,) = (v for v in series.variants_for(since) if v.patch == patch.name)
            noticed += b"\n+# Modified by" in variant.data
            assert not any("Modified by" in str(c.diff) for c in without_notices(variant))
    assert noticed


# -- the report ---------------------------------------------------------------------------------


def places(tmp_path: Path) -> tuple[Environment, Environment]:
    """Two interpreters that differ in nothing but their name."""
    made = []
    for name in ("official", "patched"):
        python = tmp_path / name / "python"
        python.parent.mkdir()
        python.write_text(f'#!/bin/sh\nSIDE={name} exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        made.append(Environment(python.parent, python, "3.11.0"))
    return made[0], made[1]


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({"official": KEPT, "patched": KEPT}, "on the official wheels the call is not lost"),
        ({"official": LOST, "patched": LOST}, "on the patched wheels the call is not kept"),
        ({"official": 2, "patched": KEPT}, "on the official wheels the call is not lost"),
    ],
)
def test_there_is_nothing_to_report_without_a_loss(
    tmp_path: Path, codes: dict[str, int], said: str
) -> None:
    script = tmp_path / SCRIPT
    script.write_text(
        f"import os\nprint('it says so')\nraise SystemExit({codes}[os.environ['SIDE']])"
    )
    pair = places(tmp_path)
    with pytest.raises(NotProved, match=f"{said}:\nit says so"):
        bug_report.gather(script, pair, None)


@pytest.mark.parametrize(
    ("shortest", "losing", "shown", "is_shortest"),
    [
        ("agent/openai/call/other:1", {"agent/openai/call/other:1", SCHEDULE}, None, True),
        # it is not to be had here: the script's own does
        ("agent/openai/call/other:1", {SCHEDULE}, SCHEDULE, False),
        (None, {SCHEDULE}, SCHEDULE, False),
    ],
)
def test_the_shortest_schedule_that_a_proof_found_is_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shortest: str | None,
    losing: set[str],
    shown: str | None,
    is_shortest: bool,
) -> None:
    def replay(_: Path, places: object, schedule: str, **__: object) -> list[Any]:
        violations = {LOSS: 1} if schedule in losing else {}
        return [SimpleNamespace(violations=violations, text=f"│ {schedule}\n", trouble="")]

    monkeypatch.setattr(replay_module, "replay", replay)
    script = tmp_path / SCRIPT
    script.write_text("import os\nraise SystemExit(os.environ['SIDE'] == 'official')")
    lost = replace(findings({}), violations={LOSS: Violation("flag", 3, shortest or "")})
    exploration = explored(official=lost).exploration if shortest else None
    evidence = bug_report.gather(script, places(tmp_path), exploration)
    assert evidence.schedule == (shown or shortest)
    assert evidence.picture == f"│ {evidence.schedule}"
    assert evidence.shortest == is_shortest


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Evidence without environments."""
    evidence = Evidence("3.11.0", "all LOST", "all kept", "a:1", "│ a picture")
    pair = places(tmp_path)
    monkeypatch.setattr(verb, "prepare", lambda *_: pair)
    monkeypatch.setattr(bug_report, "gather", lambda *_: evidence)


@pytest.mark.usefixtures("quick")
def test_the_verb(here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "forward"
    words = ["1.8.9", "--patches", str(here.patches), "--out", str(out)]
    assert verb.main([*words, "--author", "A Sender <a@example.org>", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == sorted(str(path) for path in out.iterdir())
    assert said["applies"] == ["the official files of 1.8.9"]
    assert (said["schedule"], said["shortest"]) == ("a:1", False)
    report = (out / "report.md").read_text()
    cutoff = "2026-01-02T00:00:01Z"
    for words_ in ("# w\n", "uv run lost_call.py", cutoff, "all LOST", "all kept", "a picture"):
        assert words_ in report
    assert "`a:1`\n(the schedule of the script)\n" in report
    head = (out / SCRIPT).read_text().partition("# ///\n")[0]
    assert '"livekit-agents==1.8.9", "livekit-plugins-openai==1.8.9"' in head
    assert f'exclude-newer = "{cutoff}"' in head
    assert "1. Guard the calls: w\n2. Widen the guard: w\n" in report
    # again, over what it wrote itself
    assert verb.main([*words, "--reroll", "2"]) == 0
    assert (out / "v2-0000-cover-letter.patch").is_file()
    assert not (out / "0000-cover-letter.patch").exists()
    (out / "mine.txt").write_text("x")
    assert verb.main(words) == 20
    assert "holds something else: mine.txt" in capsys.readouterr().err
    assert (out / "mine.txt").read_text() == "x"
    # somebody's own mails are no earlier result
    other = out.with_name("other")
    other.mkdir()
    (other / "0001-My-own-work.patch").write_text("x")
    assert verb.main([*words[: words.index("--out")], "--out", str(other)]) == 20
    assert (other / "0001-My-own-work.patch").read_text() == "x"


def test_the_report_says_which_schedule_is_drawn(here: Workspace) -> None:
    series = Series.load(here.patches)
    release = fetch_release("1.8.9", here).release
    evidence = Evidence("3.11.0", "", "", "b:2", "│", shortest=True)
    text = bug_report.report(release, series, (), evidence, None)
    said = (
        "The shortest schedule that loses a call, of all that were tried, in simulated time:\n`b:2`"
    )
    assert f"{said}\n(the script's own is `{SCHEDULE}`)\n" in text


def test_a_script_that_cannot_import_says_nothing_of_a_loss(
    here: Workspace, tmp_path: Path
) -> None:
    script = tmp_path / SCRIPT
    script.write_text(bug_report.script_for(fetch_release("1.8.9", here).release), "utf-8")
    (tmp_path / "aiohttp.py").write_text("raise TypeError('of another day')")
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == (
        "neither lost nor kept: the wheels cannot be imported: TypeError('of another day')\n"
    )


@pytest.mark.usefixtures("quick")
def test_nothing_half_done_stays(
    here: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["1.8.9", "--patches", str(here.patches), "--out", str(tmp_path / "out" / "a")]
    assert verb.main([*words, "--repo", str(tmp_path / "none")]) == 10

    def fail(*_: object) -> None:
        raise NotProved("no loss", next_step="rejoice")

    monkeypatch.setattr(bug_report, "gather", fail)
    assert verb.main(words) == 18
    assert "no loss" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(SystemExit):
        verb.main([*words, "--author", "nobody"])


@pytest.mark.pypi
def test_the_script_shows_the_loss_with_nothing_but_the_wheels(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cache")
    found = fetch_release("1.8.9", workspace)
    script = tmp_path / SCRIPT
    script.write_text(bug_report.script_for(found.release), "utf-8")
    text = script.read_text()
    assert text.count("\n") <= 165
    assert imported(text) - sys.stdlib_module_names == {"aiohttp", "livekit"}
    made = repack_release(found, Series.load(workspace.patches), workspace)
    said = []
    for wheels, code in ((made.official, LOST), ((*made.wheels, *made.passthrough), KEPT)):
        place = Environments(workspace.environments).prepare(
            wheels, uploaded=found.release.uploaded, extra=()
        )
        assert "pytest" not in place.distributions()
        done = subprocess.run([place.python, script], check=False, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        said.append(done.stdout.splitlines()[-1])
    assert said[0] == "LOST: livekit-agents 1.8.9"
    assert said[1].startswith("kept: livekit-agents 1.8.9+dispatched.")


def imported(text: str) -> set[str]:
    """The top-level packages that a module imports."""
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(str(node.module))
    return {name.partition(".")[0] for name in names}

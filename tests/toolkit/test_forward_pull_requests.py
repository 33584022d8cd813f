"""The pull requests upstream, as a recorded GitHub on loopback shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from replaying import Recorded, replaying

from toolkit.forward.github import API_VARIABLE, RUNNER_VARIABLE, TOKENS, GitHub, NoAnswer
from toolkit.forward.pull_requests import PullRequest, watch

PULL = "https://github.com/livekit/agents/pull/{}"
OPEN, CLOSED, MERGED = map(PULL.format, (7001, 5021, 5114))
OPEN_PATH = "/repos/livekit/agents/pulls/7001"
TIMELINE = "/repos/livekit/agents/issues/5021/timeline?per_page=100"
SHA = "1f0c5114a0b7d4d2a9f3c6e8b1d0e7f6a5c4b3d2"
COMPARE = f"/repos/livekit/agents/compare/{SHA}...livekit-agents%40{{}}?per_page=1&page=2"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AS_OF = "(as of 2026-11-22 12:00 UTC); "
SECRET = "ghp_" + "s3cret" * 6
# 1.4.7 left another branch later than the merge; 1.5.0rc1 has no tag
RELEASES = {
    Version("1.4.6"): datetime(2026, 3, 11, tzinfo=UTC),
    Version("1.4.7"): datetime(2026, 3, 19, tzinfo=UTC),
    Version("1.5.0rc1"): datetime(2026, 3, 20, tzinfo=UTC),
    Version("1.5.0"): datetime(2026, 3, 21, tzinfo=UTC),
    Version("1.5.1"): datetime(2026, 3, 24, tzinfo=UTC),
}
FORBIDDEN = {"status": 403, "headers": {}, "body": {}}


class Watch:
    """A watcher with a clock and a cache of its own."""

    def __init__(self, cache: Path, recorded: Recorded) -> None:
        self.cache, self.recorded, self.now = cache, recorded, NOW

    @property
    def answers(self) -> dict[str, Any]:
        return self.recorded.answers

    def client(self, **options: Any) -> GitHub:
        return GitHub(self.cache, **{"base": self.recorded.url, "now": lambda: self.now, **options})

    def __call__(self, *links: str, **options: Any) -> list[PullRequest]:
        self.recorded.asked.clear()
        return list(watch(links, self.client(**options), RELEASES))

    def one(self, link: str, **options: Any) -> PullRequest:
        (pull,) = self(link, **options)
        return pull


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    for name in (*TOKENS, API_VARIABLE, RUNNER_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    with replaying() as recorded:
        yield Watch(tmp_path / "watched", recorded)


# an issue, another repository's pull request and a second mention do not count
NAMED = "closed, and not merged on 2026-03-19; named by #5114 (merged), #5300 (open)"
NO_PULL = "is no pull request on GitHub"


@pytest.mark.parametrize(
    ("link", "state", "text", "asked"),
    [
        (OPEN, "open", "open", [OPEN_PATH]),
        (CLOSED, "closed", NAMED, ["/repos/livekit/agents/pulls/5021", TIMELINE]),
        (
            MERGED,
            "merged",
            "merged on 2026-03-18, since 1.5.0",
            [
                "/repos/livekit/agents/pulls/5114",
                *map(COMPARE.format, ("1.4.7", "1.5.0rc1", "1.5.0")),
            ],
        ),
        (
            "https://github.com/old/agents/pull/5021",
            "closed",
            f"{NAMED}; the repository is livekit/agents now",
            ["/repos/old/agents/pulls/5021", "/repositories/600000000/pulls/5021", TIMELINE],
        ),
        (PULL.format(1), "missing", "GitHub has no such thing", ["/repos/livekit/agents/pulls/1"]),
        ("https://example.org/1", "unknown", NO_PULL, []),
        ("https://github.com/livekit/agents/issues/4960", "unknown", NO_PULL, []),
    ],
)
def test_states(look: Watch, link: str, state: str, text: str, asked: list[str]) -> None:
    pull = look.one(link)
    assert (pull.state, str(pull), look.recorded.paths) == (state, text, asked)
    if link == OPEN:
        assert (pull.name, pull.title) == ("livekit/agents#7001", "Spare calls in flight")
        assert pull.asked == "2026-11-22 12:00 UTC"


@pytest.mark.parametrize(
    ("answers", "since"),
    [
        (dict.fromkeys(RELEASES, "without"), "in no release yet"),
        (dict.fromkeys(RELEASES, "no tag"), "since 1.4.7 at the earliest"),
        # a release that is ruled out is not named: 1.4.7 does not have it; 1.5.0rc1 has no tag
        ({"1.5.0": "silent", "1.5.1": "silent"}, "since 1.5.0rc1 at the earliest"),
        ({"1.4.7": "silent"}, "since 1.4.7 at the earliest"),
        ({"1.5.1": "silent"}, "since 1.5.0"),
    ],
)
def test_the_first_release_with_it(look: Watch, answers: Mapping[str, str], since: str) -> None:
    kinds = {"without": look.answers[COMPARE.format("1.4.7")], "silent": FORBIDDEN}
    for version, kind in answers.items():
        look.answers.pop(COMPARE.format(version), None)
        if kind in kinds:
            look.answers[COMPARE.format(version)] = kinds[kind]
    assert str(look.one(MERGED)) == f"merged on 2026-03-18, {since}"


def test_only_so_many_releases_are_asked(look: Watch) -> None:
    releases = {Version(f"1.6.{n}"): datetime(2026, 4, n + 1, tzinfo=UTC) for n in range(10)}
    without = look.answers[COMPARE.format("1.4.7")]
    look.answers.update({COMPARE.format(version): without for version in releases})
    (pull,) = watch([MERGED], look.client(), releases)
    assert (pull.since, pull.assumed) == ("1.6.8", True)


def test_what_names_a_closed_one_may_be_on_a_later_page(look: Watch) -> None:
    filler = {"status": 200, "headers": {}, "body": [{"event": "commented"}] * 100}
    look.answers[f"{TIMELINE}&page=2"] = look.answers[TIMELINE]
    look.answers[TIMELINE] = filler
    pull = look.one(CLOSED)
    assert (pull.named_by, pull.trouble) == (("#5114 (merged)", "#5300 (open)"), "")
    look.answers.update({f"{TIMELINE}&page={number}": filler for number in range(2, 6)})
    assert look.one(CLOSED).trouble == "what names it was read up to event 500"


def test_a_timeline_that_is_not_sent(look: Watch) -> None:
    timeline = look.answers[TIMELINE]
    look.answers[TIMELINE] = FORBIDDEN
    missed = "what names it is not known: it answers 403 Forbidden"
    assert str(look.one(CLOSED)) == f"closed, and not merged on 2026-03-19 {AS_OF}{missed}"
    look.answers[TIMELINE] = timeline
    assert look.one(CLOSED).trouble == ""
    look.answers[TIMELINE] = FORBIDDEN
    pull = look.one(CLOSED)
    assert (pull.named_by, pull.trouble) == (("#5114 (merged)", "#5300 (open)"), missed)


@pytest.mark.parametrize(
    "change",
    [{"base": {"repo": {"full_name": "../../user?x="}}}, {"state": "ajar"}, {"title": None}],
)
def test_what_cannot_be_is_rejected(look: Watch, change: Mapping[str, Any]) -> None:
    look.recorded.change(OPEN_PATH, **change)
    assert "is not what GitHub documents" in str(look.one(OPEN))


def test_a_title_cannot_steer_a_terminal(look: Watch) -> None:
    look.recorded.change(OPEN_PATH, title="\x1b]0;owned\x07 \x1b[31mred\n")
    assert look.one(OPEN).title == "\\x1b]0;owned\\x07 \\x1b[31mred"


# -- asking -------------------------------------------------------------------------------------


def test_what_has_not_changed_is_not_sent_again(look: Watch) -> None:
    first = look(CLOSED, MERGED)
    assert {headers.get("if-none-match") for _, headers in look.recorded.asked} == {None}
    look.now += timedelta(hours=1)
    again = look(CLOSED, MERGED)
    tags = [headers.get("if-none-match") for _, headers in look.recorded.asked]
    assert tags[0] == 'W/"pull-5021"'
    assert tags.count(None) == 1  # the tag that is not there
    assert [pull.asked for pull in again] == ["2026-11-22 13:00 UTC"] * 2
    assert [*map(str, again)] == [*map(str, first)]
    # a cache that is damaged is as good as none
    for path in look.cache.iterdir():
        path.write_text("[")
    assert [*map(str, look(CLOSED, MERGED))] == [*map(str, first)]


def test_a_change_of_state_is_seen(look: Watch) -> None:
    assert look.one(OPEN).state == "open"
    look.recorded.change(OPEN_PATH, state="closed", closed_at="2026-11-22T12:30:00Z")
    look.answers[OPEN_PATH]["headers"]["ETag"] = 'W/"other"'
    assert look.one(OPEN).state == "closed"


@pytest.mark.parametrize(
    ("status", "headers", "until"),
    [
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795350600"}, "12:30:00"),
        (429, {"Retry-After": "90"}, "12:01:30"),
        (403, {"Retry-After": "30"}, "12:00:30"),
        (429, {}, "12:01:00"),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, "12:01:00"),
    ],
)
def test_rate_limited(look: Watch, status: int, headers: dict[str, str], until: str) -> None:
    assert look.one(OPEN).state == "open"
    before = dict(look.answers)
    look.recorded.everywhere(status=status, headers=headers, body={"message": "limit exceeded"})
    known, other = look(OPEN, CLOSED)
    assert len(look.recorded.asked) == 1
    limited = f"rate limited until 2026-11-22 {until} UTC; a token in GITHUB_TOKEN raises the limit"
    assert str(known) == f"open {AS_OF}{limited}"
    assert (other.state, str(other)) == ("unknown", limited)
    # the next run keeps it as well, until it is over, but not for another token or server
    look.recorded.answers = before
    assert look.one(CLOSED).trouble == limited
    assert look.recorded.asked == []
    assert look.one(OPEN, token=SECRET).trouble == ""
    with replaying() as server:
        assert look.one(OPEN, base=server.url).trouble == ""
    look.now = NOW + timedelta(hours=1)
    assert look.one(CLOSED).state == "closed"


def test_a_limit_without_a_zone_is_forgotten(look: Watch, tmp_path: Path) -> None:
    before = dict(look.recorded.answers)
    look.recorded.everywhere(status=429, headers={}, body={})
    assert "rate limited" in look.one(CLOSED).trouble
    (kept,) = (p for p in tmp_path.rglob("*") if p.is_file() and b'"until"' in p.read_bytes())
    kept.write_bytes(kept.read_bytes().replace(b"+00:00", b""))
    look.recorded.answers = before
    assert look.one(CLOSED).state == "closed"


def test_forbidden_is_no_rate_limit(look: Watch) -> None:
    look.recorded.everywhere(status=403, body={"message": "Resource not accessible"})
    assert [*map(str, look(OPEN, CLOSED))] == ["it answers 403 Forbidden"] * 2
    assert len(look.recorded.asked) == 2


def test_down(look: Watch) -> None:
    refused = "unreachable: it refuses the connection"
    assert [*map(str, look(OPEN, CLOSED, base="http://127.0.0.1:9"))] == [refused] * 2
    assert look.one(OPEN).state == "open"
    look.recorded.everywhere(status=502, body="<html>")
    down = "unreachable: it answers 502 Bad Gateway"
    assert [*map(str, look(OPEN, CLOSED))] == [f"open {AS_OF}{down}", down]
    assert len(look.recorded.asked) == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"body": "<html>a page</html>"}, "its answer is not JSON"),
        ({"body": "", "status": 200}, "its answer is not JSON"),
        ({"body": {"state": "open"}}, "is not what GitHub documents"),
        ({"body": []}, "is not what GitHub documents"),
        ({"body": {"long": "x" * 5000}, "cut": True}, "its answer was cut off"),
        ({"body": "x" * (5 << 20)}, "its answer is too long"),
        ({"body": "[" * 50_000}, "its answer is not JSON"),
        ({"status": 301}, "sent on and on"),
        ({"status": 302, "headers": {"Location": "http://[half"}}, "sent on to no address"),
    ],
)
def test_garbage(look: Watch, answer: dict[str, Any], text: str) -> None:
    look.recorded.everywhere(**answer)
    pull = look.one(OPEN)
    assert (pull.state, pull.title) == ("unknown", "")
    assert text in str(pull)


# -- the token goes to the API and nowhere else -------------------------------------------------


def test_a_token_follows_no_redirect_and_is_not_kept(
    look: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_TOKEN", SECRET)
    with replaying() as other:
        redirect = {"status": 301, "headers": {"Location": f"{other.url}{OPEN_PATH}"}, "body": {}}
        look.answers[OPEN_PATH] = redirect
        pull = look.one(OPEN)
        assert pull.state == "unknown"
        assert "sent on to another server" in str(pull)
        assert SECRET not in str(pull)
        assert other.asked == []
    look.one(CLOSED)
    assert {headers["authorization"] for _, headers in look.recorded.asked} == {f"Bearer {SECRET}"}
    kept = b"".join(path.read_bytes() for path in look.cache.iterdir())
    assert kept
    assert SECRET.encode() not in kept


def test_no_token_over_plain_http_to_another_machine(
    look: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    def get(url: str, **options: Any) -> None:
        import requests

        sent.append(requests.Request("GET", url, auth=options["auth"]).prepare().headers)
        raise requests.ConnectionError

    monkeypatch.setattr("requests.get", get)
    for base in ("http://ghe.example/api/v3", "https://ghe.example/api/v3"):
        with pytest.raises(NoAnswer):
            look.client(base=base, token=SECRET).get("/repos")
    assert ["Authorization" in headers for headers in sent] == [False, True]


@pytest.mark.parametrize(
    ("runner", "sent"),
    [(None, True), ("", True), ("{}", True), ("{}/", True), ("https://ghe.example/api/v3", False)],
)
def test_a_token_is_for_the_server_that_the_workflow_runs_on(
    look: Watch, monkeypatch: pytest.MonkeyPatch, runner: str | None, sent: bool
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", SECRET)
    if runner is not None:
        monkeypatch.setenv(RUNNER_VARIABLE, runner.format(look.recorded.url))
    # a company's server, where the workflow runs, is not where upstream is
    assert GitHub(look.cache).base == "https://api.github.com"
    monkeypatch.setenv(API_VARIABLE, f"{look.recorded.url}/")
    assert GitHub(look.cache).get(OPEN_PATH).document["number"] == 7001
    ((_, headers),) = look.recorded.asked
    assert headers.get("authorization") == (f"Bearer {SECRET}" if sent else None)

"""What became of upstream's changes, as a recorded GitHub on loopback tells it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from replaying import Recorded, replaying

from toolkit.forward.github import API_VARIABLE, RUNNER_VARIABLE, TOKENS, GitHub, NoAnswer
from toolkit.forward.pull_requests import PullRequest, watch

PULL = "https://github.com/livekit/agents/pull/{}"
OPEN, CLOSED, MERGED = "/repos/livekit/agents/pulls/7001", PULL.format(5021), PULL.format(5114)
SHA = "1f0c5114a0b7d4d2a9f3c6e8b1d0e7f6a5c4b3d2"
COMPARE = f"/repos/livekit/agents/compare/{SHA}...livekit-agents%40{{}}?per_page=1&page=2"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECRET = "ghp_" + "s3cret" * 6
# 1.4.7 left another branch later than the merge; 1.5.0rc1 has no tag
RELEASES = {
    Version("1.4.6"): datetime(2026, 3, 11, tzinfo=UTC),
    Version("1.4.7"): datetime(2026, 3, 19, tzinfo=UTC),
    Version("1.5.0rc1"): datetime(2026, 3, 20, tzinfo=UTC),
    Version("1.5.0"): datetime(2026, 3, 21, tzinfo=UTC),
    Version("1.5.1"): datetime(2026, 3, 24, tzinfo=UTC),
}


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TOKENS, API_VARIABLE, RUNNER_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def github() -> Iterator[Recorded]:
    with replaying() as recorded:
        yield recorded


class Watch:
    """A watcher with a clock and a cache of its own."""

    def __init__(self, cache: Path, recorded: Recorded) -> None:
        self.cache, self.recorded, self.now = cache, recorded, NOW

    def client(self, **options: Any) -> GitHub:
        chosen = {"base": self.recorded.url, "now": lambda: self.now, **options}
        return GitHub(self.cache, **chosen)

    def __call__(self, *links: str, **options: Any) -> tuple[PullRequest, ...]:
        self.recorded.asked.clear()
        return watch(links, self.client(**options), RELEASES)

    def one(self, link: str, **options: Any) -> PullRequest:
        (change,) = self(link, **options)
        return change


@pytest.fixture
def look(github: Recorded, tmp_path: Path) -> Watch:
    return Watch(tmp_path / "watched", github)


def test_open(look: Watch) -> None:
    change = look.one(PULL.format(7001))
    assert (change.name, change.state, str(change)) == ("livekit/agents#7001", "open", "open")
    assert (change.title, change.asked) == ("Spare calls in flight", "2026-11-22 12:00 UTC")


def test_closed_and_superseded(look: Watch) -> None:
    change = look.one(CLOSED)
    assert (change.state, change.on) == ("closed", "2026-03-19")
    # an issue, another repository's pull request and a second mention do not count
    assert change.named_by == ("#5114 (merged)", "#5300 (open)")
    said = "closed, and not merged on 2026-03-19; named by #5114 (merged), #5300 (open)"
    assert str(change) == said


def test_merged_and_since_which_release(look: Watch) -> None:
    change = look.one(MERGED)
    assert (change.since, change.assumed) == ("1.5.0", False)
    assert str(change) == "merged on 2026-03-18, since 1.5.0"
    asked = [COMPARE.format(v) for v in ("1.4.7", "1.5.0rc1", "1.5.0")]
    assert look.recorded.paths[1:] == asked


def test_merged_but_in_no_release(look: Watch) -> None:
    for version in RELEASES:
        path = COMPARE.format(version)
        look.recorded.answers[path] = look.recorded.answers[COMPARE.format("1.4.7")]
    assert str(look.one(MERGED)) == "merged on 2026-03-18, in no release yet"


def test_merged_where_no_release_has_a_tag(look: Watch) -> None:
    for version in RELEASES:
        look.recorded.answers.pop(COMPARE.format(version), None)
    change = look.one(MERGED)
    assert (change.since, change.assumed) == ("1.4.7", True)
    assert str(change).endswith(", since 1.4.7 at the earliest")


@pytest.mark.parametrize(
    ("silent", "since"),
    [
        # 1.4.7 does not have it; 1.5.0rc1 has no tag
        (["1.5.0", "1.5.1"], "1.5.0rc1 at the earliest"),
        (["1.4.7"], "1.4.7 at the earliest"),
        (["1.5.1"], "1.5.0"),
    ],
)
def test_a_release_that_is_ruled_out_is_not_named(
    look: Watch, silent: list[str], since: str
) -> None:
    for version in silent:
        path = COMPARE.format(version)
        look.recorded.answers[path] = {"status": 403, "headers": {}, "body": {}}
    assert str(look.one(MERGED)) == f"merged on 2026-03-18, since {since}"


def test_only_so_many_releases_are_asked(look: Watch) -> None:
    days = [datetime(2026, 4, day, tzinfo=UTC) for day in range(1, 11)]
    releases = {Version(f"1.6.{number}"): day for number, day in enumerate(days)}
    without = look.recorded.answers[COMPARE.format("1.4.7")]
    for version in releases:
        look.recorded.answers[COMPARE.format(version)] = without
    (change,) = watch([MERGED], look.client(), releases)
    assert (change.since, change.assumed) == ("1.6.8", True)


TIMELINE = "/repos/livekit/agents/issues/5021/timeline?per_page=100"


def test_what_names_a_closed_change_may_be_on_a_later_page(look: Watch) -> None:
    events = look.recorded.answers[TIMELINE]["body"]
    page = {"status": 200, "headers": {}}
    filler = [{"event": "commented"}] * 100
    look.recorded.answers[TIMELINE] = {**page, "body": filler}
    look.recorded.answers[f"{TIMELINE}&page=2"] = {**page, "body": events}
    change = look.one(CLOSED)
    assert (change.named_by, change.trouble) == (("#5114 (merged)", "#5300 (open)"), "")
    for number in range(2, 6):
        look.recorded.answers[f"{TIMELINE}&page={number}"] = {**page, "body": filler}
    assert look.one(CLOSED).trouble == "what names it was read up to event 500"


def test_a_timeline_that_is_not_told_is_said(look: Watch) -> None:
    known = look.recorded.answers[TIMELINE]
    look.recorded.answers[TIMELINE] = {"status": 403, "headers": {}, "body": {}}
    change = look.one(CLOSED)
    assert change.named_by == ()
    assert str(change) == (
        "closed, and not merged on 2026-03-19 (as of 2026-11-22 12:00 UTC); "
        "what names it is not known: it answers 403 Forbidden"
    )
    look.recorded.answers[TIMELINE] = known
    assert look.one(CLOSED).trouble == ""
    look.recorded.answers[TIMELINE] = {"status": 403, "headers": {}, "body": {}}
    change = look.one(CLOSED)
    assert change.named_by == ("#5114 (merged)", "#5300 (open)")
    assert "what names it is not known" in change.trouble


def test_a_renamed_repository(look: Watch) -> None:
    change = look.one("https://github.com/old/agents/pull/5021")
    assert change.state == "closed"
    assert change.moved_to == "livekit/agents"
    assert "the repository is livekit/agents now" in str(change)
    assert look.recorded.paths[-1].startswith("/repos/livekit/agents/issues/5021/timeline")


def test_a_repository_that_is_gone(look: Watch) -> None:
    change = look.one("https://github.com/no/where/pull/1")
    assert (change.state, str(change)) == ("missing", "GitHub has no such thing")
    for link in ("https://example.org/1", "https://github.com/livekit/agents/issues/4960"):
        assert str(look.one(link)) == "is no pull request on GitHub"
    assert look.recorded.asked == []


def test_what_has_not_changed_is_not_sent_again(look: Watch) -> None:
    first = look(CLOSED, MERGED)
    tags = [headers.get("if-none-match") for _, headers in look.recorded.asked]
    assert set(tags) == {None}
    look.now += timedelta(hours=1)
    again = look(CLOSED, MERGED)
    tags = [headers.get("if-none-match") for path, headers in look.recorded.asked]
    assert tags[0] == 'W/"pull-5021"'
    assert tags.count(None) == 1  # the tag that is not there
    assert [change.asked for change in again] == ["2026-11-22 13:00 UTC"] * 2
    assert [str(change) for change in again] == [str(change) for change in first]
    # a cache that is damaged is as good as none
    for path in look.cache.iterdir():
        path.write_text("[")
    assert [str(change) for change in look(CLOSED, MERGED)] == [str(change) for change in first]


def test_a_change_of_state_is_seen(look: Watch) -> None:
    assert look.one(PULL.format(7001)).state == "open"
    look.recorded.change(OPEN, state="closed", closed_at="2026-11-22T12:30:00Z")
    look.recorded.answers[OPEN]["headers"]["ETag"] = 'W/"other"'
    assert look.one(PULL.format(7001)).state == "closed"


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
    assert look.one(PULL.format(7001)).state == "open"
    before = dict(look.recorded.answers)
    look.recorded.everywhere(status=status, headers=headers, body={"message": "limit exceeded"})
    known, other = look(PULL.format(7001), CLOSED)
    assert len(look.recorded.asked) == 1
    limited = f"rate limited until 2026-11-22 {until} UTC; a token in GITHUB_TOKEN raises the limit"
    assert str(known) == f"open (as of 2026-11-22 12:00 UTC); {limited}"
    assert (other.state, str(other)) == ("unknown", limited)
    # the next run keeps it as well, until it is over
    look.recorded.answers = before
    assert look.one(CLOSED).trouble == limited
    assert look.recorded.asked == []
    look.now = NOW + timedelta(hours=1)
    assert look.one(CLOSED).state == "closed"


def test_a_rate_limit_is_of_whoever_asked(look: Watch) -> None:
    limited = {"status": 429, "headers": {"Retry-After": "600"}, "body": {}}
    known = look.recorded.answers[OPEN]
    look.recorded.answers[OPEN] = limited
    assert "rate limited" in look.one(PULL.format(7001)).trouble
    look.recorded.answers[OPEN] = known
    assert look.one(PULL.format(7001), token=SECRET).state == "open"
    assert "rate limited" in look.one(CLOSED).trouble
    with replaying() as other:
        assert look.one(PULL.format(7001), base=other.url).state == "open"


def test_forbidden_is_no_rate_limit(look: Watch) -> None:
    look.recorded.everywhere(status=403, body={"message": "Resource not accessible"})
    first, second = look(PULL.format(7001), CLOSED)
    assert str(first) == str(second) == "it answers 403 Forbidden"
    assert len(look.recorded.asked) == 2


def test_down(look: Watch) -> None:
    known, other = look(PULL.format(7001), CLOSED, base="http://127.0.0.1:9")
    assert str(known) == str(other) == "unreachable: it refuses the connection"
    assert look.one(PULL.format(7001)).state == "open"
    look.recorded.everywhere(status=502, body="<html>")
    known, other = look(PULL.format(7001), CLOSED)
    down = "unreachable: it answers 502 Bad Gateway"
    assert str(known) == f"open (as of 2026-11-22 12:00 UTC); {down}"
    assert str(other) == down
    assert len(look.recorded.asked) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
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
def test_garbage(look: Watch, answer: dict[str, Any], said: str) -> None:
    look.recorded.everywhere(**answer)
    change = look.one(PULL.format(7001))
    assert (change.state, change.title) == ("unknown", "")
    assert said in str(change)


def test_a_title_cannot_steer_a_terminal(look: Watch) -> None:
    look.recorded.change(OPEN, title="\x1b]0;owned\x07 \x1b[31mred\n")
    assert look.one(PULL.format(7001)).title == "\\x1b]0;owned\\x07 \\x1b[31mred"


def test_a_repository_name_cannot_steer_requests(look: Watch) -> None:
    look.recorded.change(OPEN, base={"repo": {"full_name": "../../user?x="}})
    assert "is not what GitHub documents" in str(look.one(PULL.format(7001)))


def test_the_token_goes_to_the_api_and_nowhere_else(
    look: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_TOKEN", SECRET)
    with replaying() as other:
        there = {"status": 301, "headers": {"Location": f"{other.url}{OPEN}"}, "body": {}}
        look.recorded.answers[OPEN] = there
        change = look.one(PULL.format(7001))
        assert change.state == "unknown"
        assert "sent on to another server" in str(change)
        assert SECRET not in str(change)
        assert other.asked == []
    look.one(CLOSED)
    assert {headers["authorization"] for _, headers in look.recorded.asked} == {f"Bearer {SECRET}"}
    # not even in the cache
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


def test_where_the_api_is(look: Watch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert GitHub(tmp_path).base == "https://api.github.com"
    # a company's server, where the workflow runs; upstream is not there
    monkeypatch.setenv(RUNNER_VARIABLE, "https://ghe.example/api/v3")
    assert GitHub(tmp_path).base == "https://api.github.com"
    monkeypatch.setenv(API_VARIABLE, f"{look.recorded.url}/")
    assert GitHub(tmp_path).get(OPEN).document["number"] == 7001


@pytest.mark.parametrize(
    ("runner", "sent"),
    [(None, True), ("", True), ("{}", True), ("{}/", True), ("https://ghe.example/api/v3", False)],
)
def test_a_token_is_for_the_server_that_the_workflow_runs_on(
    look: Watch, monkeypatch: pytest.MonkeyPatch, runner: str | None, sent: bool
) -> None:
    monkeypatch.setenv(API_VARIABLE, look.recorded.url)
    monkeypatch.setenv("GITHUB_TOKEN", SECRET)
    if runner is not None:
        monkeypatch.setenv(RUNNER_VARIABLE, runner.format(look.recorded.url))
    GitHub(look.cache).get(OPEN)
    (asked,) = look.recorded.asked
    assert asked[1].get("authorization") == (f"Bearer {SECRET}" if sent else None)

"""What became of the changes upstream that a series waits for, as GitHub's API tells it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from packaging.version import Version

from toolkit.forward.github import Answer, GitHub, NoAnswer
from toolkit.forward.mails import TAG
from toolkit.patches.series import Series
from toolkit.util.errors import printable
from toolkit.util.strict_json import Malformed, value_of

# of the releases after a merge, so many are asked whether they contain it; and so many pages of a
# closed change are read for what names it
ASKED, PAGES = 8, 5
_PER_PAGE = 100
_LINK = re.compile(r"https?://[^/]+/([^/]+)/([^/]+)/pull/(\d+)/?")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.A)
_CONTAINS = ("ahead", "identical")


@dataclass(frozen=True)
class PullRequest:
    """One pull request upstream.

    ``state`` is "open", "closed" (and not merged), "merged", "missing", or "unknown"; ``on`` is the
    day of it. ``since`` is the first release with it, and ``assumed`` says that it may be a later
    one: no earlier one can have it. ``named_by`` are later pull requests that name a closed one.
    ``moved_to`` is where the repository is now. ``asked`` is when GitHub said all this, and
    ``trouble`` why not just now, or not all of it.
    """

    url: str
    state: str = "unknown"
    title: str = ""
    on: str = ""
    since: str = ""
    assumed: bool = False
    named_by: tuple[str, ...] = ()
    moved_to: str = ""
    asked: str = ""
    trouble: str = ""

    @property
    def name(self) -> str:
        """Such as ``livekit/agents#5021``."""
        found = _LINK.match(self.url)
        return f"{found[1]}/{found[2]}#{found[3]}" if found else self.url

    def __str__(self) -> str:
        words = [f"{self.state}, and not merged" if self.state == "closed" else self.state]
        words += [f"on {self.on}"] if self.on else []
        text = " ".join(words)
        if self.since:
            text += f", since {self.since}{' at the earliest' if self.assumed else ''}"
        elif self.state == "merged":
            text += ", in no release yet"
        text += f"; named by {', '.join(self.named_by)}" if self.named_by else ""
        text += f"; the repository is {self.moved_to} now" if self.moved_to else ""
        if self.trouble:
            known = f"{text} (as of {self.asked}); " if self.asked else ""
            text = f"{known}{self.trouble}"
        return text


def links_of(series: Series, *, related: bool = True) -> tuple[str, ...]:
    """Return the links of a series to upstream, each once; without ``related`` only its own."""
    own = [series.upstream, *(patch.upstream for patch in series.patches)]
    return tuple(dict.fromkeys([*own, *(series.related if related else ())]))


def watch(
    links: Sequence[str], github: GitHub, releases: Mapping[Version, datetime]
) -> tuple[PullRequest, ...]:
    """What became of each link. ``releases`` are upstream's, with their upload times."""
    return tuple(_watch(link, github, releases) for link in links)


def _watch(link: str, github: GitHub, releases: Mapping[Version, datetime]) -> PullRequest:
    found = _LINK.fullmatch(link)
    if found is None:
        return PullRequest(link, trouble="is no pull request on GitHub")
    owner, name, number = found.groups()
    path = f"/repos/{owner}/{name}/pulls/{number}"
    trouble = ""
    answer: Answer | None
    try:
        answer = github.get(path)
    except NoAnswer as error:
        if error.missing:
            return PullRequest(link, "missing", trouble=str(error))
        answer, trouble = github.remembered(path), str(error)
    if answer is None:
        return PullRequest(link, trouble=trouble)
    try:
        change = replace(_change(link, answer), trouble=trouble)
        repository = change.moved_to or f"{owner}/{name}"
        if change.state == "merged":
            merged, sha = answer.document["merged_at"], answer.document["merge_commit_sha"]
            sha = quote(value_of(sha, str, "merge_commit_sha"), safe="")
            since, assumed = _since(repository, _day(merged), sha, github, releases)
            return replace(change, since=since, assumed=assumed)
        if change.state == "closed":
            named_by, missed = _named_by(repository, number, github)
            return replace(change, named_by=named_by, trouble=trouble or missed)
    except (Malformed, KeyError, TypeError, ValueError) as error:
        return PullRequest(link, trouble=f"its answer is not what GitHub documents: {error}")
    return change


def _change(link: str, answer: Answer) -> PullRequest:
    raw = value_of(answer.document, dict, "the pull request")
    state = value_of(raw["state"], str, "state")
    if state not in ("open", "closed"):
        raise Malformed(f"the state is {state!r}")
    is_merged = raw["merged_at"] is not None
    when = raw["merged_at"] or raw["closed_at"]
    change = PullRequest(
        link,
        "merged" if is_merged else state,
        # anybody may have written it
        title=printable(" ".join(value_of(raw["title"], str, "title").split())),
        on=f"{_day(when):%Y-%m-%d}" if state == "closed" else "",
        asked=f"{datetime.fromisoformat(answer.asked):%Y-%m-%d %H:%M} UTC",
    )
    now = value_of(raw["base"]["repo"]["full_name"], str, "full_name")
    if not _REPOSITORY.fullmatch(now):
        raise Malformed(f"the repository is {now!r}")
    was = change.name.partition("#")[0]
    return replace(change, moved_to=now if now.lower() != was.lower() else "")


def _since(
    repository: str,
    merged: datetime,
    sha: str,
    github: GitHub,
    releases: Mapping[Version, datetime],
) -> tuple[str, bool]:
    """The first release that contains a commit; the second is true if a later one may be it.

    No release contains it if all were asked, and none does.
    """
    later = sorted((v for v, when in releases.items() if when >= merged), key=lambda v: releases[v])
    # what may have it, since the last one that has not
    possible: list[Version] = []
    is_unheard = False
    for version in later[:ASKED]:
        tag = quote(TAG.format(release=version), safe="")
        # the second page has no list of files, which is what makes the first one large
        path = f"/repos/{repository}/compare/{sha}...{tag}?per_page=1&page=2"
        possible.append(version)
        answer: Answer | None
        try:
            answer = github.get(path)
        except NoAnswer as error:
            if error.missing:
                continue  # not every release has a tag
            answer = github.remembered(path)
        if answer is None:
            is_unheard = True
        elif value_of(answer.document, dict, "the comparison")["status"] in _CONTAINS:
            return str(possible[0] if is_unheard else version), is_unheard
        else:
            possible.clear()
            is_unheard = False
    possible += later[ASKED:]
    return (str(possible[0]), True) if possible else ("", False)


def _named_by(repository: str, number: str, github: GitHub) -> tuple[tuple[str, ...], str]:
    """Later pull requests of the same repository that name this one, and what keeps the list from
    being whole, if anything does."""
    seen: dict[int, str] = {}
    for page in range(1, PAGES + 1):
        path = f"/repos/{repository}/issues/{number}/timeline?per_page={_PER_PAGE}"
        path += f"&page={page}" if page > 1 else ""
        missed = ""
        try:
            answer: Answer | None = github.get(path)
        except NoAnswer as error:
            answer, missed = github.remembered(path), f"what names it is not known: {error}"
        events = value_of(answer.document, list, "the timeline") if answer else []
        for event in events:
            source = _source(event)
            pull = source.get("pull_request")
            where = (source.get("repository") or {}).get("full_name", repository)
            if pull and where.lower() == repository.lower():
                state = "merged" if pull.get("merged_at") else source["state"]
                seen.setdefault(value_of(source["number"], int, "number"), printable(str(state)))
        if missed or len(events) < _PER_PAGE:
            break
    else:
        missed = f"what names it was read up to event {PAGES * _PER_PAGE}"
    return tuple(f"#{number} ({state})" for number, state in seen.items()), missed


def _source(event: Any) -> dict[str, Any]:
    if not isinstance(event, dict) or event.get("event") != "cross-referenced":
        return {}
    return (event.get("source") or {}).get("issue") or {}


def _day(text: object) -> datetime:
    when = datetime.fromisoformat(value_of(text, str, "a time"))
    return when if when.tzinfo else when.replace(tzinfo=UTC)

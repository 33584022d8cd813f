"""The pull requests upstream that a series waits for, as GitHub's API shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from packaging.version import Version

from toolkit.forward.github import Answer, GitHub
from toolkit.forward.mails import TAG
from toolkit.patches.series import Series
from toolkit.util.errors import printable
from toolkit.util.strict_json import Malformed, value_of

# How many of the releases after a merge are asked whether they contain it, and how many pages of
# a closed pull request's timeline are read.
ASKED, PAGES = 8, 5
_PER_PAGE = 100
_LINK = re.compile(r"https?://[^/]+/([^/]+)/([^/]+)/pull/(\d+)/?")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.A)
_CONTAINS = ("ahead", "identical")


@dataclass(frozen=True)
class PullRequest:
    """One pull request upstream.

    ``state`` is "open", "closed" (and not merged), "merged", "missing", or "unknown"; ``on`` is the
    day of it. ``since`` is the first release with it; with ``assumed`` it may be a later one, but
    no earlier one. ``named_by`` are later pull requests that name a closed one. ``moved_to`` is
    where the repository is now. ``asked`` is when GitHub answered, and ``trouble`` says why that
    is not just now, or why something is not known.
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
        link = _LINK.match(self.url)
        return f"{link[1]}/{link[2]}#{link[3]}" if link else self.url

    def __str__(self) -> str:
        text = f"{self.state}, and not merged" if self.state == "closed" else self.state
        text += f" on {self.on}" if self.on else ""
        if self.since:
            text += f", since {self.since}{' at the earliest' if self.assumed else ''}"
        elif self.state == "merged":
            text += ", in no release yet"
        text += f"; named by {', '.join(self.named_by)}" if self.named_by else ""
        text += f"; the repository is {self.moved_to} now" if self.moved_to else ""
        if not self.trouble:
            return text
        return f"{text} (as of {self.asked}); {self.trouble}" if self.asked else self.trouble


def links_of(series: Series, *, related: bool = True) -> tuple[str, ...]:
    """Return the links of a series to upstream, each once; without ``related`` only its own."""
    own = [series.upstream, *(patch.upstream for patch in series.patches)]
    return tuple(dict.fromkeys([*own, *(series.related if related else ())]))


def watch(
    links: Sequence[str], github: GitHub, releases: Mapping[Version, datetime]
) -> tuple[PullRequest, ...]:
    """Return the pull request of each link; ``releases`` are upstream's, with upload times."""
    return tuple(_watch(link, github, releases) for link in links)


def _watch(link: str, github: GitHub, releases: Mapping[Version, datetime]) -> PullRequest:
    parts = _LINK.fullmatch(link)
    if parts is None:
        return PullRequest(link, trouble="is no pull request on GitHub")
    owner, name, number = parts.groups()
    answer, error = github.get_or_cached(f"/repos/{owner}/{name}/pulls/{number}")
    trouble = str(error or "")
    if error and error.missing:
        return PullRequest(link, "missing", trouble=trouble)
    if answer is None:
        return PullRequest(link, trouble=trouble)
    try:
        pull = replace(_pull_request(link, answer), trouble=trouble)
        repository = pull.moved_to or f"{owner}/{name}"
        if pull.state == "merged":
            since, assumed = _since(repository, answer.document, github, releases)
            return replace(pull, since=since, assumed=assumed)
        if pull.state == "closed":
            named_by, missed = _named_by(repository, number, github)
            return replace(pull, named_by=named_by, trouble=trouble or missed)
    except (Malformed, KeyError, TypeError, ValueError) as problem:
        return PullRequest(link, trouble=f"its answer is not what GitHub documents: {problem}")
    return pull


def _pull_request(link: str, answer: Answer) -> PullRequest:
    raw = value_of(answer.document, dict, "the pull request")
    state = value_of(raw["state"], str, "state")
    if state not in ("open", "closed"):
        raise Malformed(f"the state is {state!r}")
    ended = raw["merged_at"] or raw["closed_at"]
    pull = PullRequest(
        link,
        state if raw["merged_at"] is None else "merged",
        # anybody may have written it
        title=printable(" ".join(value_of(raw["title"], str, "title").split())),
        on=f"{_time(ended):%Y-%m-%d}" if state == "closed" else "",
        asked=f"{answer.asked:%Y-%m-%d %H:%M} UTC",
    )
    now = value_of(raw["base"]["repo"]["full_name"], str, "full_name")
    if not _REPOSITORY.fullmatch(now):
        raise Malformed(f"the repository is {now!r}")
    before = pull.name.partition("#")[0]
    return replace(pull, moved_to=now if now.lower() != before.lower() else "")


def _since(
    repository: str,
    pull: Mapping[str, Any],
    github: GitHub,
    releases: Mapping[Version, datetime],
) -> tuple[str, bool]:
    """Return the first release that contains a merged pull request, and whether that is assumed.

    The release is empty if all that may contain it were asked, and none does.
    """
    # Releases that were uploaded after the merge may have it.
    merged = _time(pull["merged_at"])
    sha = quote(value_of(pull["merge_commit_sha"], str, "merge_commit_sha"), safe="")
    later = sorted((v for v, when in releases.items() if when >= merged), key=lambda v: releases[v])
    # Ask one after the other; these may have it, since the last one that does not.
    possible: list[Version] = []
    is_assumed = False
    for version in later[:ASKED]:
        possible.append(version)
        tag = quote(TAG.format(release=version), safe="")
        # the second page has no list of files, which is what makes the first one large
        path = f"/repos/{repository}/compare/{sha}...{tag}?per_page=1&page=2"
        answer, error = github.get_or_cached(path)
        if error and error.missing:
            continue  # not every release has a tag
        if answer is None:
            is_assumed = True
        elif value_of(answer.document, dict, "the comparison")["status"] in _CONTAINS:
            return str(possible[0] if is_assumed else version), is_assumed
        else:
            possible.clear()
            is_assumed = False
    possible += later[ASKED:]
    return (str(possible[0]), True) if possible else ("", False)


def _named_by(repository: str, number: str, github: GitHub) -> tuple[tuple[str, ...], str]:
    """Return later pull requests of the repository that name this one, and why some are missing."""
    states: dict[int, str] = {}
    for page in range(1, PAGES + 1):
        path = f"/repos/{repository}/issues/{number}/timeline?per_page={_PER_PAGE}"
        answer, error = github.get_or_cached(path + (f"&page={page}" if page > 1 else ""))
        events = value_of(answer.document, list, "the timeline") if answer else []
        for source in filter(None, map(_source, events)):
            pull = source.get("pull_request")
            other = (source.get("repository") or {}).get("full_name", repository)
            if pull and other.lower() == repository.lower():
                state = "merged" if pull.get("merged_at") else source["state"]
                states.setdefault(value_of(source["number"], int, "number"), printable(str(state)))
        if error or len(events) < _PER_PAGE:
            missed = f"what names it is not known: {error}" if error else ""
            break
    else:
        missed = f"what names it was read up to event {PAGES * _PER_PAGE}"
    return tuple(f"#{number} ({state})" for number, state in states.items()), missed


def _source(event: Any) -> dict[str, Any]:
    """Return the issue or pull request from which an event refers to this one; or nothing."""
    if not isinstance(event, dict) or event.get("event") != "cross-referenced":
        return {}
    return (event.get("source") or {}).get("issue") or {}


def _time(text: object) -> datetime:
    time = datetime.fromisoformat(value_of(text, str, "a time"))
    return time if time.tzinfo else time.replace(tzinfo=UTC)

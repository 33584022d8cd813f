"""Addresses with users and passwords in them: who gets these, and where they must not stand."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit, urlunsplit

from toolkit.util.errors import Unreachable


def index_address(endpoint: str) -> str:
    """An index's address, in which a user without a password has an empty one.

    Raises Unreachable, without repeating it, for what is none: there may be a password in it.
    """
    try:
        parts = urlsplit(endpoint)
        # of http://user:12/34@host/, `user` is the host, and the rest would stand in messages
        cut = parts.port is not None and "@" in parts.path
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and not cut
    except ValueError:
        sound = False
    if not sound:
        raise Unreachable(
            "what is named as the index is not an address that can be asked",
            next_step="give one that begins with https://; write / in a password as %2F, @ as %40",
        )
    user, at, host = parts.netloc.rpartition("@")
    # requests sends nothing for a user alone; pip and uv send it
    return parts._replace(netloc=f"{user}:@{host}").geturl() if at and ":" not in user else endpoint


def for_same_server(url: str, endpoint: str) -> str:
    """``url`` with the user and password of ``endpoint`` if it is on that very server."""
    there, index = urlsplit(url), urlsplit(endpoint)
    user, at, _ = index.netloc.rpartition("@")
    if not at or "@" in there.netloc or _server(there) != _server(index):
        return url
    return there._replace(netloc=f"{user}@{there.netloc}").geturl()


def _server(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def public(url: str) -> str:
    """``url`` without user, password and query, which may sign it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

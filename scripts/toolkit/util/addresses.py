"""Addresses with a user and password in them, which only their own server may see."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit, urlunsplit

from toolkit.util.errors import Unreachable


def index_address(endpoint: str) -> str:
    """Return an index's address, in which a user without a password has an empty one.

    Raises Unreachable, without repeating a wrong address: there may be a password in it.
    """
    try:
        parts = urlsplit(endpoint)
        # of http://user:12/34@host/, `user` is the host, and the rest would stand in messages
        is_cut = parts.port is not None and "@" in parts.path
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not is_cut
    except ValueError:
        is_valid = False
    if not is_valid:
        raise Unreachable(
            "what is named as the index is not an address that can be asked",
            next_step="give one that begins with https://; write / in a password as %2F, @ as %40",
        )
    user, at, host = parts.netloc.rpartition("@")
    # requests sends nothing for a user alone; pip and uv send it
    return parts._replace(netloc=f"{user}:@{host}").geturl() if at and ":" not in user else endpoint


def for_same_server(url: str, endpoint: str) -> str:
    """Return ``url`` with the user and password of ``endpoint`` if it is on that very server."""
    target, index = urlsplit(url), urlsplit(endpoint)
    user, at, _ = index.netloc.rpartition("@")
    if not at or "@" in target.netloc or _server(target) != _server(index):
        return url
    return target._replace(netloc=f"{user}@{target.netloc}").geturl()


def _server(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def public(url: str) -> str:
    """Return ``url`` without user, password and query, which may hold a signature."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

"""Refuses the network to this process: whatever is not on the loopback, names included.

Sockets are watched by an audit hook (PEP 578), which code under test can neither remove nor reach
around by importing ``socket`` first. It sees those of Python, and says what was asked for; what
native code opens is kept in by a network namespace, where the machine has one to give. Runs in a
release's own environment: standard library only.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys

attempts: list[str] = []
_NAMED = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_SENT = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getnameinfo")
_begun = False


class NetworkRefused(OSError):
    """The test asked for something that is not on this machine."""


class NameRefused(socket.gaierror):
    """The test asked what address a name has."""


def begin() -> None:
    """Refuse from now on, for as long as this process lives."""
    global _begun
    if not _begun:
        _begun = True
        sys.addaudithook(_watch)


def is_local(host: object) -> bool:
    """Whether ``host``, as sockets take it, is this machine."""
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii", "replace")
    if not host or host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if not event.startswith("socket."):
        return
    if event in _NAMED and not _is_literal(arguments[0]):
        host = arguments[0]
        shown = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        attempts.append(shown)
        raise NameRefused(socket.EAI_FAIL, f"no network in this run: the name {shown} was refused")
    if event in _SENT:
        address = arguments[-1]
        # a text is a path, and no address an answer on a socket that is connected
        if isinstance(address, tuple) and address and not is_local(address[0]):
            attempts.append(str(address[0]))
            raise NetworkRefused(
                errno.ENETUNREACH, f"no network in this run: {address[0]} was refused"
            )


def _is_literal(host: object) -> bool:
    if is_local(host):
        return True
    try:
        ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return True

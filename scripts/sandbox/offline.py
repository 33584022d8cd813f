"""Refuses the network to this process: all addresses but the loopback's, and all names.

An audit hook (PEP 578) watches Python's sockets; code under test can neither remove it nor avoid it
by importing ``socket`` first. It records what was asked for. Sockets that native code opens are
confined by a network namespace, where the machine allows one. Runs in a release's own environment:
standard library only.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys

attempts: list[str] = []
_NAMED = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_SENT = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getnameinfo")
_refusing = False


class NetworkRefused(OSError):
    """The test asked for something that is not on this machine."""


class NameRefused(socket.gaierror):
    """The test asked what address a name has."""


def begin() -> None:
    """Refuse the network as long as this process lives."""
    global _refusing
    if not _refusing:
        _refusing = True
        sys.addaudithook(_watch)


def is_local(host: object) -> bool:
    """Return whether ``host``, as sockets take it, is this machine."""
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
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        attempts.append(name)
        raise NameRefused(socket.EAI_FAIL, f"no network in this run: the name {name} was refused")
    if event in _SENT:
        address = arguments[-1]
        # a text is a path; without an address, data is sent on a socket that is connected
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

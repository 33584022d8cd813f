"""Brings the loopback of a new network namespace up, then becomes the program that is named.

Runs on Linux before upstream's tests, with nothing but the standard library.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys

# see netdevice(7)
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40


def main() -> None:
    """Exec the words of the command line; raises OSError where there are no rights to it."""
    with socket.socket() as some:
        fcntl.ioctl(some, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP | IFF_RUNNING))
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - which is what it is for


if __name__ == "__main__":
    main()

"""Brings up the loopback of a new network namespace, then executes the named program.

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
    """Execute the arguments; raises OSError without the right to configure the loopback."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP | IFF_RUNNING))
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - which is what it is for


if __name__ == "__main__":
    main()

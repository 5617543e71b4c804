"""Ports for servers that tests start later."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody listens on, of those that the system gives to no process which asks for any.

    One of the others may have been taken by a process of Ray by the time that a server starts.
    """
    found: list[int] = []
    for port in random.sample(range(20_000, 30_000), 1_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            break
    return found


#: Of the S3 server of this test run.
(S3_PORT,) = free_ports(1)

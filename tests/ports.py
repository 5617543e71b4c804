"""The port of the S3 server, which starts with the first test that wants it."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """Return a port that nobody listens on, of those that the system gives to no process which asks for any.

    One of the others may have been taken by a process of Ray by the time that the server starts.
    """
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", random.randint(20_000, 30_000))) as free:
            return int(free.getsockname()[1])


#: Of the S3 server of this test run.
S3_PORT = free_port()

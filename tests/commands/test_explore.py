"""The socket of the explorer: this machine's alone, at the port that is asked for, and without delay."""

from __future__ import annotations

import socket

import pytest

from datus2_ray.commands.explore import listen
from datus2_ray.errors import UsageError


@pytest.mark.parametrize("port", [None, 0])
def test_an_answer_does_not_wait_for_the_browser_to_acknowledge_its_headers(port: int | None) -> None:
    with listen(port) as listener, socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_refused_where_it_was_asked_for() -> None:
    with listen(None) as first, listen(None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]
        assert {listener.getsockname()[0] for listener in (first, second)} == {"127.0.0.1"}
        with pytest.raises(UsageError, match=r"--port \d+ cannot be used: Address already in use"):
            listen(first.getsockname()[1])

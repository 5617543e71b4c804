from __future__ import annotations

import pytest
import ray

from datus2_ray.engine.failure import cause_of
from datus2_ray.errors import BackboneError, StorageError


@ray.remote
def fail(kind: str) -> None:
    if kind == "foreign":
        raise ValueError("first line\nsecond line")
    try:
        raise OSError("disk on fire")
    except OSError as error:
        raise BackboneError("weights do not fit; take others") from error


@pytest.mark.parametrize(
    ("kind", "line"),
    [("foreign", "a worker failed: ValueError: first line second line"), ("own", "weights do not fit; take others")],
)
def test_a_worker_s_error_becomes_one_line(ray_session: None, kind: str, line: str) -> None:
    with pytest.raises(ray.exceptions.RayError) as caught:
        ray.get(fail.remote(kind))
    assert str(cause_of(caught.value)) == line


def test_own_errors_pass_and_unknown_ones_keep_their_name() -> None:
    own = StorageError("gone")
    assert cause_of(own) is own
    assert str(cause_of(ray.exceptions.NodeDiedError("no heartbeat\nmore"))).startswith(
        "a worker failed: NodeDiedError"
    )

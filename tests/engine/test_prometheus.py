"""Counters arrive where Prometheus asks for them."""

from __future__ import annotations

import time
import urllib.request

import ray

from datus2_ray.engine import prometheus


def exported() -> str:
    node = ray.nodes()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_what_stages_count_is_exported(ray_session: None) -> None:
    prometheus.count_images("some_stage", 7, 2)
    prometheus.count_images("some_stage", 5, 0)
    prometheus.count_segments("some_stage", 31)
    prometheus.set_seconds("some_stage", 2.5)
    expected = {prometheus.IMAGES: 12, prometheus.ERRORS: 2, prometheus.SEGMENTS: 31, prometheus.SECONDS: 2.5}
    found: dict[str, float] = {}
    end = time.monotonic() + 60  # Ray's exporter gathers every few seconds
    while found != expected and time.monotonic() < end:
        lines = [line for line in exported().splitlines() if 'stage="some_stage"' in line.lower()]
        for name in expected:
            values = [float(line.rsplit(" ", 1)[1]) for line in lines if name in line.split("{")[0]]
            if values:
                found[name] = values[0]
        time.sleep(1)
    assert found == expected

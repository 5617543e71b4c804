"""A run in an object store is explored as one in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datus2_ray.commands.explore import open_run
from datus2_ray.explore.edits import parse_request
from datus2_ray.store import storage
from datus2_ray.store.names import read_names
from tests.explore.made import MadeRun


def test_a_run_in_a_bucket_is_explored_as_one_in_a_folder(bucket: str, tmp_path: Path) -> None:
    there = open_run(MadeRun(f"s3://{bucket}/run").write(), tmp_path)
    (tmp_path / "cache").mkdir()
    run = MadeRun(tmp_path / "run").write()
    here = open_run(run, tmp_path / "cache")
    for name in ("image", "segment", "fine", "second", "margin", "pixels", "by_image"):
        assert np.array_equal(getattr(there.tables, name), getattr(here.tables, name)), name
    assert there.gallery.crop(3, 1, 112) == here.gallery.crop(3, 1, 112)
    assert there.gallery.label_map(3) == here.gallery.label_map(3)
    edit = b'{"expected": 0, "edit": {"do": "clusters", "clusters": [1, 2], "name": "road"}}'
    assert there.naming.edit(parse_request(edit)).number == here.naming.edit(parse_request(edit)).number == 1
    assert storage.exists(f"s3://{bucket}/run/names.yaml")
    assert read_names(run).clusters == {1: 0, 2: 0}

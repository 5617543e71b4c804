"""The settings of a prediction: those of its run, without what was said of the run's own source."""

from __future__ import annotations

import pytest

from datus2_ray.commands.predict import _config
from datus2_ray.config import load
from datus2_ray.errors import UsageError


def test_a_prediction_does_not_trust_the_paths_in_shards_because_its_run_did() -> None:
    ingest = {"outside_paths": True, "bands": "3,2,1", "masks": "gt", "mask_column": "label"}
    kept = load({"source": "/shards", "out": "/run", "clusters": 3, "ingest": ingest})
    config = _config(kept, 3, {"uint16": [0, 4095]}, "/others", "/masks", None, 0.05, None, None, ())
    assert not config.ingest.outside_paths
    assert (config.ingest.masks, config.ingest.mask_column) == (None, None)
    # What the model saw its images by is its own.
    assert (config.ingest.bands, config.ingest.stretch) == ((3, 2, 1), {"uint16": (0, 4095)})


def test_how_new_images_are_read_may_be_set_and_nothing_else() -> None:
    kept = load({"source": "/in", "out": "/run", "clusters": 3})
    given = ["ingest.max_megapixels=200", "ingest.outside_paths=true", "no_progress_seconds=99"]
    config = _config(kept, 3, {}, "/others", "/masks", None, 0.05, None, None, given)
    assert (config.ingest.max_megapixels, config.ingest.outside_paths) == (200, True)
    assert config.no_progress_seconds == 99
    with pytest.raises(UsageError, match=r"--set discover\.tau=9: settings are those of the run; only .* may differ"):
        _config(kept, 3, {}, "/others", "/masks", None, 0.05, None, None, ["discover.tau=9"])
    with pytest.raises(UsageError, match="max_megapixels"):
        _config(kept, 3, {}, "/others", "/masks", None, 0.05, None, None, ["ingest.max_megapixels=-1"])

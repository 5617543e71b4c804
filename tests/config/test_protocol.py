"""Protocols: what they switch on, and what they do not go together with."""

from __future__ import annotations

from pathlib import Path

import pytest

from datus2_ray.config import RunConfig, load
from datus2_ray.errors import UsageError

FLAGS = {"source": "in", "out": "out"}


@pytest.mark.parametrize("preset", ["best", "paper"])
def test_stego_takes_mirror_images_whatever_the_preset_says(preset: str, tmp_path: Path) -> None:
    plain, stego = (load({**FLAGS, "protocol": name}, preset=preset) for name in (None, "stego"))
    mirrored = {"mirror": True}
    assert (plain.protocol, plain.rendering.crop, plain.discover.mirror) == ("datus2", None, False)
    assert (stego.protocol, stego.rendering.crop) == ("stego", 320)
    assert stego.discover == plain.discover.model_copy(update=mirrored)
    assert stego.refine == plain.refine.model_copy(update=mirrored)
    # In a file and by --set, and again from what a run writes.
    (tmp_path / "settings.yaml").write_text("protocol: stego\n")
    assert load(FLAGS, preset=preset, config_file=str(tmp_path / "settings.yaml")) == stego
    assert load(FLAGS, preset=preset, assignments=("protocol=stego",)) == stego
    assert RunConfig.model_validate(stego.model_dump(mode="json")) == stego
    assert RunConfig(**FLAGS, protocol="stego", discover=plain.discover).discover.mirror


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("discover.mirror=false", "discover.mirror = False does not fit protocol = stego.* leave discover.mirror out"),
        ("refine.mirror=false", "refine.mirror = False does not fit protocol = stego"),
        ("discover.reduced_decoding=true", "stego resizes whole images.*: set discover.reduced_decoding=false"),
        ("export.format=png", "masks are of the middle of images and do not fit their files"),
        ("protocol=steego", "protocol = 'steego': input should be 'datus2' or 'stego'"),
    ],
)
def test_what_a_protocol_does_not_go_with_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(FLAGS, assignments=("protocol=stego", assignment))

"""What was taught, as the page sees it: doubt per segment, per cluster and per image, and the masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from datus2_ray.core.images.labels import encode_labels
from datus2_ray.core.names.names import NamedClass
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Facts, Taught, TaughtMasks
from datus2_ray.store.names import read_names
from tests.explore.conftest import MadeServed
from tests.explore.made import SIZE, halves

CLASSES = (NamedClass("road", "#e69f00"), NamedClass("sky", "#56b4e9"))


def teach(served: MadeServed, fingerprint: str, seed: int) -> dict[str, np.ndarray]:
    """Commit taught masks with a random confidence, and return it by image."""
    run, random = served.run, np.random.default_rng(seed)
    confidence = {image: random.random(6).astype(np.float32) for image in served.made.fine}
    names = read_names(run).fingerprint()
    parts: dict[str, int] = {}
    for start in range(0, 8, 4):
        chosen = list(confidence)[start : start + 4]
        part = f"part-{start // 4:06d}.parquet"
        masks = [encode_labels(np.full(SIZE, number % 2, np.uint8)) for number in range(len(chosen))]
        columns = {"image_id": chosen, "mask": masks}
        column = list_column([confidence[image] for image in chosen], pa.float32())
        parquet.write_table(
            storage.join(run.result(TaughtMasks.stage, fingerprint), part),
            pa.table({**columns, "segment_confidence": column}),
        )
        parts[part] = len(chosen)
    taught = Taught(
        classes=CLASSES, names=names, dim=4, backbone="", images=8, share=1.0, tokens=10, workers=1, steps=5,
        agreements=(0.9,), loss=0.1, model="model.safetensors",
    )  # fmt: skip
    results: tuple[tuple[Facts, dict[str, int]], ...] = ((taught, {}), (TaughtMasks(CLASSES), parts))
    for facts, rows in results:
        run.commit(Commit(run.result(facts.stage, fingerprint), fingerprint, 8, 8, 0, rows, facts))
        run.set_current({**run.current(), facts.stage: fingerprint})
    return confidence


def test_doubt_is_what_the_layer_said_until_it_is_taught_again(serve: Callable[..., MadeServed]) -> None:
    served = serve(images=8)
    assert served.json("GET", "/api/job")["taught"] is None
    served.edit(0, do="clusters", clusters=[0], name="road")
    for fingerprint in ("aa" * 16, "bb" * 16):
        confidence = teach(served, fingerprint, seed=ord(fingerprint[0]))
        taught = served.json("GET", "/api/job")["taught"]
        assert (taught["version"], taught["classes"]) == (fingerprint[:12], ["road", "sky"])
        assert taught["names"] == served.json("GET", "/api/names")["fingerprint"]
        expected = np.zeros(12)
        for image, fine in served.made.fine.items():
            np.add.at(expected, fine, (1 - confidence[image]) * SIZE[0] * SIZE[1] / 6)
        assert np.allclose(taught["doubt"], expected, atol=1)
        for number, image in enumerate(served.made.fine):
            doubt = served.json("GET", f"/api/image/{number}")["doubt"]
            assert np.allclose(doubt, 1 - confidence[image], atol=1e-4)
        order = [image["id"] for image in served.json("GET", "/api/images?order=uncertain")["images"]]
        assert order == sorted(served.made.fine, key=lambda image: confidence[image].sum())
    served.edit(1, do="clusters", clusters=[1], name="road")
    assert served.json("GET", "/api/job")["taught"]["names"] != served.json("GET", "/api/names")["fingerprint"]

    pictures = served.json("GET", "/api/run")["pictures"]
    _, labels = halves(served.ask("GET", f"{pictures}/taught/{'bb' * 6}/5")[2])
    assert (labels == 1).all()
    for version in ("aa" * 6, "..", "x"):
        assert served.ask("GET", f"{pictures}/taught/{version}/5")[0] == 404

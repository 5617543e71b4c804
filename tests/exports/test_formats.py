"""Every format read back by a program of others: the pixels are those of the masks, and so are the objects."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from datus2_ray.core.images.palette import palette
from datus2_ray.core.names.names import NamedClass
from datus2_ray.errors import ImageError, UsageError
from datus2_ray.exports import FORMATS
from datus2_ray.exports.format import Format, LabelledImage, Written, split_of

#: All that use the readers are in one process: two would install them at once.


def _many_colours(count: int) -> list[str]:
    return [f"#{bytes(rgb).hex()}" for rgb in palette(count).tolist()]


CLASSES = (
    NamedClass("road", "#e69f00"),
    NamedClass("Wald & <Wiese>", "#56b4e9"),
    NamedClass("空", "#009e73"),
    NamedClass("cluster 3", "#f0e442"),
)
VOID = 255
SHARES = {"train": 0.7, "val": 0.3}

#: Where there may be more classes than a mask of 8 bits holds, and the file need not be georeferenced.
FOR_MANY = tuple(name for name in FORMATS if name not in ("geojson", "cvat"))

#: Where objects are more than classes, and of those, which write objects also where none are asked for.
WITH_OBJECTS = ("coco", "coco-panoptic", "cvat", "label-studio", "yolo")


def picture(image_id: str, mask: np.ndarray) -> LabelledImage:
    file = BytesIO()
    Image.fromarray(np.repeat(mask[:, :, None].astype(np.uint8), 3, axis=2)).save(file, format="PNG")
    return LabelledImage(image_id, split_of(image_id, SHARES), f"{image_id}.png", mask, file.getvalue())


def pictures() -> Iterator[LabelledImage]:
    """Yield masks with holes, holes in holes, thin lines, single pixels and pixels without a class, of many sizes."""
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate(
        [(17, 23), (64, 48), (1, 40), (33, 1), (90, 70), (40, 40), (8, 8), (51, 77)]
    ):
        smooth = ndimage.gaussian_filter(rng.random((height, width)), number / 2)
        levels = np.quantile(smooth, [0.2, 0.4, 0.6, 0.8])
        mask = np.array([0, 1, 2, 3, VOID], np.uint8)[np.digitize(smooth, levels)]
        mask[::9], mask[:, ::11] = 2, 1
        yield picture(f"{'a.b/images/' * (number % 2)}n {number}", mask)
    yield picture("all one", np.full((20, 30), 3, np.uint8))
    yield picture("none", np.full((20, 30), VOID, np.uint8))


PICTURES = {image.image_id: image for image in pictures()}

#: More classes than a mask of 8 bits holds, and what one of them would be mistaken for if it were cut to 8.
MANY = tuple(NamedClass(f"class {number}", colour) for number, colour in enumerate(_many_colours(300)))


def many_pictures() -> Iterator[LabelledImage]:
    rng = np.random.default_rng(1)
    for number in range(3):
        mask = rng.choice([*range(250, 300), number, 65535], (30, 40)).astype(np.uint16)
        mask = mask.repeat(4, axis=0).repeat(4, axis=1)  # polygons of single pixels are no polygons
        yield picture(f"many/{number}", mask)


MANY_PICTURES = {image.image_id: image for image in many_pictures()}


def _wide(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == np.iinfo(mask.dtype).max, 65535, mask.astype(np.uint16))


def written(target: Format, images: list[LabelledImage], folder: Path) -> None:
    """Write images to a folder in a format, in two parts, as the stage does."""
    target.check()
    records = []
    for part, of_part in (("part-000000", images[:4]), ("part-000001", images[4:])):
        outcomes = list(target.encode_part(part, iter(of_part)))
        assert len(outcomes) == len(of_part)
        for image, outcome in zip(of_part, outcomes, strict=True):
            assert isinstance(outcome, Written)
            records.append((image, outcome.record))
            for file, data in outcome.files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(data)

    def of_split(split: str) -> Iterator[tuple[str, tuple[bytes, ...]]]:
        return ((image.image_id, record) for image, record in records if image.split == split)

    for file, pieces in target.merge(of_split):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"".join(pieces()))


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for name, kind in FORMATS.items():
        for instances in (False, True) if name != "geojson" else ():
            target = kind(CLASSES, tuple(SHARES), instances, "s3://bucket/" if name == "label-studio" else "")
            # CVAT has colours for 255 objects.
            images = [i for i in PICTURES.values() if name != "cvat" or not instances or objects_of(i).max() <= 255]
            written(target, images, folder / (name + "-instances" * instances))
        if name in FOR_MANY:
            many = kind(MANY, tuple(SHARES), False, "s3://bucket/" if name == "label-studio" else "")
            written(many, list(MANY_PICTURES.values()), folder / f"{name}-many")
    return folder


@pytest.fixture(scope="module")
def read_back(
    exports: Path, readers: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    out = tmp_path_factory.mktemp("read") / "read.npz"
    script = Path(__file__).parent / "foreign.py"
    subprocess.run([sys.executable, "-W", "ignore", script, exports, out], env=readers, check=True)
    with np.load(out) as read:
        return dict(read)


def objects_of(image: LabelledImage) -> np.ndarray:
    objects = np.zeros(image.mask.shape, np.uint16)
    for number in np.unique(image.mask[image.mask != VOID]):
        labels, _ = ndimage.label(image.mask == number)
        objects[labels > 0] = labels[labels > 0] + objects.max()
    return objects


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "geojson"])
@pytest.mark.parametrize("instances", [False, True])
def test_another_program_reads_the_masks_to_the_pixel(
    read_back: dict[str, np.ndarray], name: str, instances: bool
) -> None:
    folder = name + "-instances" * instances
    checked = 0
    for image_id, image in PICTURES.items():
        read = read_back.get(f"{folder}/{image_id}")
        if read is None:
            # A task without brushes does not say how large its image is, and such objects are too many for CVAT.
            assert (name, image_id) == ("label-studio", "none") or (name == "cvat" and objects_of(image).max() > 255)
            continue
        np.testing.assert_array_equal(read, _wide(image.mask))
        checked += 1
    assert checked >= 7


@pytest.mark.parametrize("name", FOR_MANY)
def test_another_program_reads_masks_of_more_classes_than_8_bits_hold(
    read_back: dict[str, np.ndarray], name: str
) -> None:
    for image_id, image in MANY_PICTURES.items():
        np.testing.assert_array_equal(read_back[f"{name}-many/{image_id}"], image.mask)


@pytest.mark.parametrize("name", WITH_OBJECTS)
def test_with_instances_every_connected_region_is_an_object(read_back: dict[str, np.ndarray], name: str) -> None:
    checked = 0
    for image_id, image in PICTURES.items():
        read = read_back.get(f"{name}-instances/{image_id}/objects")
        if read is not None:
            np.testing.assert_array_equal(read > 0, image.mask != VOID)
            pairs = np.unique(np.stack([read.ravel(), objects_of(image).ravel()]), axis=1)
            assert pairs.shape[1] == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))
            checked += 1
    assert checked >= 7


def test_pycocotools_reads_what_hotcoco_reads(exports: Path) -> None:
    from pycocotools.coco import COCO

    for split in SHARES:
        coco = COCO(str(exports / "coco" / "annotations" / f"{split}.json"))
        assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == [c.name for c in CLASSES]
        for image in coco.loadImgs(coco.getImgIds()):
            expected = PICTURES[image["file_name"].removesuffix(".png")].mask
            for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])):
                region = coco.annToMask(annotation)
                np.testing.assert_array_equal(region > 0, expected == annotation["category_id"] - 1)


def test_names_of_any_script_come_through(exports: Path) -> None:
    names = [named.name for named in CLASSES]
    assert (exports / "png" / "labels.txt").read_text().splitlines() == names
    assert list(json.loads((exports / "hf" / "id2label.json").read_text()).values()) == names
    panoptic = json.loads((exports / "coco-panoptic" / "annotations" / "val.json").read_text())
    assert [category["name"] for category in panoptic["categories"]] == names
    assert {category["isthing"] for category in panoptic["categories"]} == {0}


def test_images_lie_beside_their_labels(exports: Path) -> None:
    for image in PICTURES.values():
        assert (exports / "yolo" / "images" / image.split / f"{image.image_id}.png").read_bytes() == image.image


def test_the_same_masks_make_the_same_files(exports: Path, tmp_path: Path) -> None:
    for name in ("cvat", "coco", "hf"):
        written(FORMATS[name](CLASSES, tuple(SHARES)), list(PICTURES.values()), tmp_path / name)
        files = {file.relative_to(tmp_path) for file in (tmp_path / name).rglob("*") if file.is_file()}
        assert files
        assert all((tmp_path / file).read_bytes() == (exports / file).read_bytes() for file in files)


def test_a_split_depends_on_the_id_only_and_keeps_its_share() -> None:
    ids = [f"image {i}" for i in range(4000)]
    shares = {"train": 8.0, "val": 1.0, "test": 1.0}
    found = [split_of(image_id, shares) for image_id in ids]
    for name, share in shares.items():
        assert abs(found.count(name) / len(ids) - share / 10) < 0.02
    # Where a share grows at the end of the others, images move to it and between no others.
    more = [split_of(image_id, {"train": 8.0, "val": 1.0, "test": 2.0}) for image_id in ids]
    assert {(a, b) for a, b in zip(found, more, strict=True) if a != b} <= {
        ("train", "val"),
        ("train", "test"),
        ("val", "test"),
    }


@pytest.mark.parametrize("name", ["a:b", "#1", "background"])
def test_cvat_refuses_names_that_its_list_cannot_hold(name: str) -> None:
    with pytest.raises(UsageError, match="cvat cannot have a class"):
        FORMATS["cvat"]((NamedClass(name, "#ffffff"),), ("train",)).check()


def test_more_classes_than_the_reader_of_cvat_counts_are_refused() -> None:
    with pytest.raises(UsageError, match="cvat reads at most 254 classes, and there are 255"):
        FORMATS["cvat"](MANY[:255], ("train",)).check()
    FORMATS["cvat"](MANY[:254], ("train",)).check()


@pytest.mark.parametrize("colour", ["#000000", "#e69f00"])
def test_cvat_refuses_colours_that_are_no_class_s_own(colour: str) -> None:
    with pytest.raises(UsageError, match=f"have the same colour {colour}"):
        FORMATS["cvat"]((CLASSES[0], NamedClass("b", colour)), ("train",)).check()


def test_objects_beyond_the_colours_of_cvat_are_refused() -> None:
    mask = np.full((64, 64), VOID, np.uint8)
    mask[::2, ::2] = 0
    with pytest.raises(ImageError, match="more than 255 objects"):
        FORMATS["cvat"](CLASSES, ("train",), instances=True).encode(picture("many", mask))

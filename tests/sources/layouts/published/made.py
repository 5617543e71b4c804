"""Small copies of the published data sets: their folders, names and encodings, with rendered scenes in them.

The encodings are written out here once more, and not taken from the layouts: the tests compare both.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

#: Pixels [H, W, 3], and numbers of classes [H, W] with 255 for void.
Scene = tuple[np.ndarray, np.ndarray]

VOID = 255


@dataclass(frozen=True)
class Made:
    """A data set of the tests.

    Parameters
    ----------
    dataset, split : str
        Names for the command line; None for sets without splits.
    classes : int
        Number of its classes; scenes have only some of them.
    write : callable
        Writes scenes below a folder, with other files of the set.
    void : int
        What pixels without a class are read as.
    order : callable
        Returns the scenes in the order of the ids.
    """

    dataset: str
    split: str | None
    classes: int
    write: Callable[[Path, Sequence[Scene]], None]
    void: int = VOID
    order: Callable[[Sequence[Scene]], Sequence[Scene]] = lambda scenes: scenes


def save(image: Image.Image, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def text(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def picture(path: Path, scene: Scene) -> None:
    save(Image.fromarray(scene[0]), path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def grey(path: Path, ids: np.ndarray) -> None:
    save(Image.fromarray(ids.astype(np.uint8)), path)


def coloured(path: Path, ids: np.ndarray, colours: Sequence[tuple[int, int, int]], void: tuple[int, int, int]) -> None:
    table = np.full((256, 3), void, np.uint8)
    table[: len(colours)] = colours
    save(Image.fromarray(table[ids]), path)


def to_ids(ids: np.ndarray, published: Sequence[int], void: int) -> np.ndarray:
    table = np.full(256, void, np.uint8)
    table[: len(published)] = published
    return table[ids]


def ade20k(folder: Path, scenes: Sequence[Scene]) -> None:
    root = folder / "ADEChallengeData2016"
    text(root / "objectInfo150.txt", ["Idx\tRatio\tTrain\tVal\tName", "1\t0.1576\t11664\t1172\twall"])
    text(root / "sceneCategories.txt", ["ADE_train_00000001 airport_terminal"])
    for short, split in (("train", "training"), ("val", "validation")):
        for number, (pixels, ids) in enumerate(scenes, 1):
            name = f"ADE_{short}_{number:08d}"
            picture(root / "images" / split / f"{name}.jpg", (pixels, ids))
            grey(root / "annotations" / split / f"{name}.png", to_ids(ids, range(1, 151), 0))


def voc(folder: Path, scenes: Sequence[Scene]) -> None:
    root = folder / "VOCdevkit" / "VOC2012"
    names = [f"2007_{number:06d}" for number in range(32, 32 + len(scenes))]
    picture(root / "JPEGImages" / "2012_004331.jpg", scenes[0])  # of the action task: no list of segmentation has it
    palette = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for level in range(8):
            palette[index] |= np.array([index >> 3 * level + c & 1 for c in range(3)], np.uint8) << np.uint8(7 - level)
    for name, (pixels, ids) in zip(names, scenes, strict=True):
        picture(root / "JPEGImages" / f"{name}.jpg", (pixels, ids))
        for kind in ("SegmentationClass", "SegmentationObject"):
            image = Image.fromarray(ids)
            image.putpalette(palette.tobytes())
            save(image, root / kind / f"{name}.png")
        text(root / "Annotations" / f"{name}.xml", ["<annotation/>"])
    text(root / "ImageSets/Segmentation/train.txt", names[:1])
    text(root / "ImageSets/Segmentation/val.txt", names[1:])
    text(root / "ImageSets/Segmentation/trainval.txt", names)
    text(root / "ImageSets/Main/train.txt", [f"{name}  1" for name in names])


CITYSCAPES_EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def cityscapes(published: Sequence[int], train_ids: bool = False) -> Callable[[Path, Sequence[Scene]], None]:
    def write(folder: Path, scenes: Sequence[Scene]) -> None:
        for split, city in (("train", "aachen"), ("val", "frankfurt")):
            for number, (pixels, ids) in enumerate(scenes):
                stem = f"{city}/{city}_{number:06d}_000019"
                picture(folder / f"leftImg8bit/{split}/{stem}_leftImg8bit.png", (pixels, ids))
                masks = folder / f"gtFine/{split}/{stem}_gtFine_"
                if train_ids:
                    grey(Path(f"{masks}labelTrainIds.png"), ids)
                else:
                    grey(Path(f"{masks}labelIds.png"), to_ids(ids, published, 1))
                coloured(Path(f"{masks}color.png"), ids, [(128, 64, 128)] * len(published), (0, 0, 0))
                save(Image.fromarray(ids.astype(np.uint16) * 1000), Path(f"{masks}instanceIds.png"))
                text(Path(f"{masks}polygons.json"), ['{"imgHeight": 1024, "imgWidth": 2048, "objects": []}'])

    return write


#: One of the published ids of every coarse class, in the order of STEGO's names.
COARSE = (
    73, 80, 55, 62, 84, 46, 28, 17, 10, 0, 34, 3, 101, 114, 120, 97, 131, 91, 171, 179, 94, 124, 93, 105, 126, 98, 154,
)  # fmt: skip
#: Published ids without the eleven that have no annotations.
FINE = tuple(i for i in range(182) if i not in (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90))


def cocostuff(
    published: Sequence[int], folders: tuple[str, str] = ("images", "annotations"), curated: bool = True
) -> Callable[[Path, Sequence[Scene]], None]:
    def write(folder: Path, scenes: Sequence[Scene]) -> None:
        for split in ("train2017", "val2017"):
            names = [f"{139 + 146 * number:012d}" for number in range(len(scenes) + 1)]
            for name, (pixels, ids) in zip(names, [*scenes, scenes[0]], strict=True):
                picture(folder / folders[0] / split / f"{name}.jpg", (pixels, ids))
                grey(folder / folders[1] / split / f"{name}.png", to_ids(ids, published, 255))
            if curated:
                lists = folder / "curated" / split
                text(lists / "Coco164kFull_Stuff_Coarse_7.txt", names[:-1])
                text(lists / "Coco164kFull_Stuff_Coarse.txt", names)
                text(lists / "Coco164kFew_Stuff_6.txt", names[:1])

    return write


POTSDAM = ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0))


def enlarged(scene: Scene, side: int) -> Scene:
    return tuple(np.array(Image.fromarray(part).resize((side, side), Image.Resampling.NEAREST)) for part in scene)  # type: ignore[return-value]


def potsdam_originals(folder: Path, scenes: Sequence[Scene]) -> None:
    """Two originals of two by two windows, the last ones smaller; the second original has no labels."""
    tiles = [enlarged(scene, 400) for scene in scenes]
    four = [tiles[number % len(tiles)] for number in range(4)]
    pixels, ids = (
        np.vstack([np.hstack([four[2 * row + column][part] for column in range(2)]) for row in range(2)])[:700, :760]
        for part in range(2)
    )
    for name in ("top_potsdam_2_10", "top_potsdam_2_13"):
        picture(folder / "2_Ortho_RGB" / f"{name}_RGB.tif", (pixels, ids))
        text(folder / "2_Ortho_RGB" / f"{name}_RGB.tfw", ["0.05"])
    coloured(folder / "5_Labels_all" / "top_potsdam_2_10_label.tif", ids, POTSDAM, (0, 0, 0))


def potsdam_pieces(folder: Path, scenes: Sequence[Scene]) -> None:
    names = [str(number) for number in range(17, 17 + len(scenes))]
    for kind in ("imgs", "gt"):
        (folder / kind).mkdir(parents=True)
    for name, scene in zip([*names, "900"], [*scenes, scenes[0]], strict=True):
        pixels, ids = enlarged(scene, 200)
        savemat(folder / "imgs" / f"{name}.mat", {"img": np.dstack([pixels, pixels[:, :, 0]])})
        if name != "900":
            # Cars, clutter and trees stand for the three classes.
            savemat(folder / "gt" / f"{name}.mat", {"gt": to_ids(ids, (4, 5, 3), 255).astype(np.int32)})
    text(folder / "labelled_train.txt", names[:1])
    text(folder / "labelled_test.txt", names[1:])
    text(folder / "unlabelled_train.txt", ["900"])


#: A colour of the 32 published classes for each of the 11, not always the first one.
CAMVID = (
    (128, 128, 128), (0, 128, 64), (0, 0, 64), (128, 0, 192), (0, 0, 192), (192, 192, 0), (0, 64, 64), (64, 64, 128),
    (64, 128, 192), (192, 128, 64), (192, 0, 192),
)  # fmt: skip


def camvid_cambridge(folder: Path, scenes: Sequence[Scene]) -> None:
    for number, (pixels, ids) in enumerate(scenes):
        name = f"0001TP_{6690 + 30 * number:06d}"
        picture(folder / "701_StillsRaw_full" / f"{name}.png", (pixels, ids))
        coloured(folder / "LabeledApproved_full" / f"{name}_L.png", ids, CAMVID, (0, 0, 0))
    text(folder / "label_colors.txt", ["64 128 64\tAnimal", "192 0 128\tArchway"])


def camvid_kaggle(folder: Path, scenes: Sequence[Scene]) -> None:
    for split in ("train", "val", "test"):
        for number, (pixels, ids) in enumerate(scenes):
            name = f"0016E5_{390 + 30 * number:05d}"
            picture(folder / "CamVid" / split / f"{name}.png", (pixels, ids))
            coloured(folder / "CamVid" / f"{split}_labels" / f"{name}_L.png", ids, CAMVID, (0, 0, 0))
    text(folder / "CamVid" / "class_dict.csv", ["name,r,g,b", "Animal,64,128,64"])


def camvid_segnet(folder: Path, scenes: Sequence[Scene]) -> None:
    for split in ("train", "val", "test"):
        for number, (pixels, ids) in enumerate(scenes):
            name = f"0016E5_{390 + 30 * number:05d}.png"
            picture(folder / split / name, (pixels, ids))
            grey(folder / f"{split}annot" / name, to_ids(ids, range(11), 11))
        text(folder / f"{split}.txt", [f"/SegNet/CamVid/{split}/a.png /SegNet/CamVid/{split}annot/a.png"])


SUIM = tuple((255 * (code >> 2 & 1), 255 * (code >> 1 & 1), 255 * (code & 1)) for code in range(8))


def suim(folder: Path, scenes: Sequence[Scene]) -> None:
    for split in ("train_val", "TEST"):
        for number, (pixels, ids) in enumerate(scenes):
            name = f"d_r_{47 + number}_"
            picture(folder / split / "images" / f"{name}.jpg", (pixels, ids))
            # What is void elsewhere is water here.
            coloured(folder / split / "masks" / f"{name}.bmp", ids, SUIM, (0, 0, 0))
            if split == "TEST":
                for code, kind in enumerate(("HD", "PF", "WR", "RO", "RI", "FV"), 1):
                    grey(folder / split / "masks" / kind / f"{name}.bmp", np.where(ids == code, 255, 0))
                grey(folder / split / "masks" / "saliency" / f"{name}.bmp", np.where(ids > 0, 255, 0))


def coco(folder: Path, scenes: Sequence[Scene]) -> None:
    """Write polygons, compressed and uncompressed run lengths; class 0 is drawn nowhere."""
    from pycocotools import mask as masks

    images, annotations = [], []
    for number, (pixels, ids) in enumerate(scenes):
        name = f"{139 + number:012d}.jpg"
        picture(folder / "val2017" / name, (pixels, ids))
        height, width = ids.shape
        images.append({"id": number + 5, "file_name": name, "height": height, "width": width})
        for code in np.unique(ids[(ids > 0) & (ids < VOID)]).tolist():
            encoded = masks.encode(np.asfortranarray(ids == code))
            counts: Any = encoded["counts"].decode()
            if code % 2:
                flat = (ids == code).ravel(order="F")
                changes = np.flatnonzero(np.diff(flat, prepend=False)).tolist()
                counts = np.diff([0, *changes, len(flat)]).tolist()
            region = {"size": [height, width], "counts": counts}
            annotations.append({
                "id": len(annotations) + 1, "image_id": number + 5, "category_id": 10 * code, "iscrowd": 0,
                "segmentation": region, "area": 1, "bbox": [0, 0, 1, 1],
            })  # fmt: skip
    categories = [{"id": 10 * code, "name": f"thing {code}", "supercategory": "thing"} for code in range(1, 6)]
    file = {"images": images, "annotations": annotations, "categories": categories}
    text(folder / "annotations" / "instances_val2017.json", [json.dumps(file)])
    captions = {"images": images, "annotations": [{"image_id": 5, "id": 1, "caption": "a hill"}]}
    text(folder / "annotations" / "captions_val2017.json", [json.dumps(captions)])


def labelme(folder: Path, scenes: Sequence[Scene]) -> None:
    """Write a mask for each class but 0, as LabelMe writes what a model drew."""
    for number, (pixels, ids) in enumerate(scenes):
        picture(folder / f"2011_{number:06d}.jpg", (pixels, ids))
        shapes = []
        for code in range(1, 6):
            rows, columns = np.nonzero(ids == code)
            if len(rows):
                top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
                file = io.BytesIO()
                Image.fromarray((ids == code)[top : bottom + 1, left : right + 1]).save(file, "PNG")
                shapes.append({
                    "label": f"thing {code}", "points": [[int(left), int(top)], [int(right), int(bottom)]],
                    "group_id": None, "description": "", "shape_type": "mask", "flags": {},
                    "mask": base64.b64encode(file.getvalue()).decode(),
                })  # fmt: skip
        document = {
            "version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"..\\raw\\{number}.jpg", "imageData": None,
            "imageHeight": ids.shape[0], "imageWidth": ids.shape[1],
        }  # fmt: skip
        text(folder / f"2011_{number:06d}.json", [json.dumps(document)])


MADE = {
    "ade20k": Made("ade20k", "validation", 150, ade20k),
    "voc": Made("voc", "trainval", 21, voc),
    "cityscapes27": Made("cityscapes27", "val", 27, cityscapes(range(7, 34))),
    "cityscapes19": Made("cityscapes19", "val", 19, cityscapes(CITYSCAPES_EVALUATED)),
    "cityscapes19-train-ids": Made("cityscapes19", "train", 19, cityscapes(CITYSCAPES_EVALUATED, train_ids=True)),
    "cocostuff27": Made("cocostuff27", "val", 27, cocostuff(COARSE)),
    "cocostuff171": Made(
        "cocostuff171",
        None,
        171,
        cocostuff(FINE, ("", "stuffthingmaps"), curated=False),
        order=lambda scenes: [*scenes, scenes[0]] * 2,
    ),
    "potsdam3-pieces": Made("potsdam3", "labelled_test", 3, potsdam_pieces, order=lambda scenes: scenes[1:]),
    "potsdam6-originals": Made("potsdam6", None, 6, potsdam_originals, order=lambda scenes: [*scenes] * 4),
    "camvid-cambridge": Made("camvid", None, 11, camvid_cambridge),
    "camvid-kaggle": Made("camvid", "val", 11, camvid_kaggle),
    "camvid-segnet": Made("camvid", "test", 11, camvid_segnet),
    "suim": Made("suim", "TEST", 8, suim, void=0),
    "coco": Made("coco", None, 6, coco, void=0),
    "labelme": Made("labelme", None, 6, labelme, void=0),
}


def blocks(classes: int) -> list[Scene]:
    """Return two scenes of noise that have every class of a set, and void, in blocks of 4 by 4 pixels."""
    numbers = np.resize(np.append(np.arange(classes), VOID), (12, 16)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    return [(noise[at], np.kron(order, np.ones((4, 4), np.uint8))) for at, order in enumerate((numbers, numbers[::-1]))]


def spread(scenes: Sequence[Scene], classes: int) -> list[Scene]:
    """Return scenes of six classes with the numbers of classes from the first to the last one of a set."""
    table = np.append(np.linspace(0, classes - 1, 6).round().astype(np.uint8), np.full(250, VOID, np.uint8))
    return [(pixels, table[ids]) for pixels, ids in scenes]

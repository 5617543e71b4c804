from __future__ import annotations

import pytest

from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.known import find
from datus2_ray.sources.layouts.samples import Sample


def test_splits_by_folder() -> None:
    files = [
        "train/images/b.jpg", "train/images/a.jpg", "train/masks/a.png", "train/masks/b.png",
        "val/images/a.jpg", "val/masks/a.png", "val/masks/orphan.png", "readme.txt",
    ]  # fmt: skip
    camvid = find("camvid")
    assert camvid.samples(files, "train") == [
        Sample("a", "train/images/a.jpg", "train/masks/a.png"),
        Sample("b", "train/images/b.jpg", "train/masks/b.png"),
    ]
    # Without a split all are taken, and the split's name keeps equal names apart.
    assert [s.image_id for s in camvid.samples(files, None)] == ["train/a", "train/b", "val/a"]
    with pytest.raises(UsageError, match="no split 'test', only train, val"):
        camvid.samples(files, "test")


def test_one_split_alone_has_the_same_ids_as_beside_others() -> None:
    files = ["train_val/images/a.jpg", "train_val/masks/a.bmp"]
    both = [*files, "TEST/images/a.jpg", "TEST/masks/a.bmp"]
    suim = find("suim6")
    assert [s.image_id for s in suim.samples(files, None)] == ["train_val/a"]
    assert [s.image_id for s in suim.samples(both, None)] == ["TEST/a", "train_val/a"]
    assert [s.image_id for s in suim.samples(both, "TEST")] == ["a"]


def test_segnets_folders() -> None:
    files = ["train/1.png", "trainannot/1.png", "val/2.png", "valannot/2.png", "train.txt"]
    camvid = find("camvid")
    assert camvid.samples(files, "val") == [Sample("2", "val/2.png", "valannot/2.png")]
    assert [s.image_id for s in camvid.samples(files, None)] == ["train/1", "val/2"]


def test_a_splits_own_folder() -> None:
    files = ["images/x/a.jpg", "images/b.JPG", "masks/x/a.png", "masks/b.png"]
    camvid = find("camvid")
    assert camvid.samples(files, None) == [
        Sample("b", "images/b.JPG", "masks/b.png"),
        Sample("x/a", "images/x/a.jpg", "masks/x/a.png"),
    ]
    with pytest.raises(UsageError, match="leave --split out"):
        camvid.samples(files, "val")


def test_datus2_layout_has_true_masks() -> None:
    files = ["train/images/a.jpg", "train/true_masks/a.png", "val/images/b.jpg", "val/true_masks/b.png"]
    datus2 = find("datus2")
    assert datus2.class_names is None
    assert datus2.samples(files, "val") == [Sample("b", "val/images/b.jpg", "val/true_masks/b.png")]


def test_an_image_without_a_mask_stays_a_sample() -> None:
    suim = find("suim")
    files = ["TEST/images/a.jpg", "TEST/images/b.jpg", "TEST/masks/a.bmp"]
    assert [s.mask for s in suim.samples(files, "TEST")] == ["TEST/masks/a.bmp", None]
    assert [s.mask for s in suim.samples(["TEST/images/a.jpg"], "TEST")] == [None]


def test_masks_that_fit_no_image_are_refused() -> None:
    files = ["images/a.jpg", "images/b.jpg", "masks/a_mask.png", "masks/b_mask.png"]
    with pytest.raises(UsageError, match=r"no mask in masks/ is named like an image in images/; a\.jpg wants"):
        find("suim").samples(files, None)


def test_a_foreign_layout_is_refused_with_what_was_found() -> None:
    with pytest.raises(UsageError, match=r"camvid: expected .*train.*; found 1 files in photos/"):
        find("camvid").samples(["photos/a.jpg"], None)
    # A folder of that name alone is no split of SegNet's: there are no masks for it.
    with pytest.raises(UsageError, match="expected"):
        find("camvid").samples(["train/a.jpg"], "train")

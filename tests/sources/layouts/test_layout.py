from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datus2_ray.errors import ImageError, UsageError
from datus2_ray.sources.layouts.ids import assign_ids, check_id
from datus2_ray.sources.layouts.known import DATASETS, find
from datus2_ray.sources.layouts.layout import describe, find_mask, image_files, index_masks
from datus2_ray.store import storage

# Any characters that a file name or an S3 key may have, with those that could do harm made likely.
parts = st.text(st.one_of(st.sampled_from("ab./\\%\x00\n\udc80é"), st.characters()), max_size=6)
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)


def test_image_files_are_all_but_what_is_hidden_or_no_image_by_its_name() -> None:
    files = [
        "b.JPG", "a.jpeg", "c.Png", "d.bmp", "e.tif", "f.TIFF", "g.webp", "h.gif", "notes.txt", "i.jpg.txt", "j",
        "k.jpg.1", "l.jpg?w=800", "m.dng", "n.JSON",
        ".hidden.jpg", "x/.cache/a.jpg", "__MACOSX/a.jpg", "x/__MACOSX/._b.jpg", "Thumbs.db", "x/._a.jpg", ".jpg",
    ]  # fmt: skip
    images = ["a.jpeg", "b.JPG", "c.Png", "d.bmp", "e.tif", "f.TIFF", "g.webp", "h.gif", "j", "k.jpg.1", "l.jpg?w=800"]
    assert image_files(files) == images


def test_usual_names_are_their_own_ids() -> None:
    names = ["0016E5_07959.jpg", "a b/ü (1).png", "x.y.z.tif", "100 µm.jpg"]
    assert assign_ids(names) == ["0016E5_07959", "a b/ü (1)", "x.y.z", "100 µm"]


def test_shared_stems_keep_their_suffixes() -> None:
    assert assign_ids(["a.jpg", "a.png", "b.jpg", "x/a.jpg"]) == ["a.jpg", "a.png", "b", "x/a"]
    assert assign_ids(["a.jpg", "a.png", "a.jpg.png"]) == ["a.jpg", "a.png", "a.jpg.png"]


@settings(deadline=None)
@given(st.lists(paths, unique=True, max_size=12))
def test_ids_are_distinct_and_stay_in_their_folder(names: list[str]) -> None:
    ids = assign_ids(names)
    assert len(set(ids)) == len(names)
    for image_id in ids:
        assert image_id
        assert not image_id.startswith("/")
        assert not {"", ".", ".."} & set(image_id.split("/"))
        assert not PurePosixPath(image_id).is_absolute()
        assert "\\" not in image_id
        assert "\0" not in image_id
        # Arrow and JSON hold UTF-8 only.
        image_id.encode()


@pytest.mark.parametrize(
    ("image_id", "kind"),
    [
        ("海" * 80, None),
        ("海" * 83 + "a/" + "海" * 83, None),
        ("海" * 90, "long_id"),
        ("海" * 90 + "/a", "long_id"),
        ("a" * 252, "long_id"),
        ("a" * 251, None),
        ("../a", "unsafe_id"),
        ("", "unsafe_id"),
        (None, "unsafe_id"),
    ],
)
def test_an_id_can_name_a_file_or_is_refused(tmp_path: Path, image_id: str | None, kind: str | None) -> None:
    if kind is None:
        check_id(image_id)
        storage.write_bytes(str(tmp_path / f"{image_id}.png"), b"")
    else:
        with pytest.raises(ImageError) as caught:
            check_id(image_id)
        assert caught.value.kind == kind


@given(st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=100, max_size=300), st.data())
def test_a_name_of_any_length_gives_an_id_that_can_name_a_file(name: str, data: st.DataObject) -> None:
    other = name[:-1] + data.draw(st.characters(codec="utf-8", exclude_characters="/"))
    ids = assign_ids(list(dict.fromkeys([f"{name}.jpg", f"{other}.jpg", f"{name}/{name}.jpg"])))
    for image_id in ids:
        check_id(image_id)
    assert len(set(ids)) == 2 + (name != other)


@pytest.mark.parametrize("name", ["写真" * 41 + "a", "%E6%97%A5%E6%9C%AC" * 12, "a" * 255, "caf\uefe9" + "é" * 122])
def test_images_with_the_longest_names_have_masks_of_their_own(tmp_path: Path, name: str) -> None:
    image_id, other = assign_ids([name, f"{name[:-1]}z"])
    assert image_id != other
    for key in (image_id, other):
        check_id(key)
        storage.write_bytes(str(tmp_path / f"{key}.png"), b"")
    assert len(list(tmp_path.iterdir())) == 2
    assert "caf" not in name or image_id.startswith("caf%E9é")


def test_names_that_differ_in_case_or_unicode_form_are_images_whose_masks_do_not_replace_each_other() -> None:
    names = ["a/IMG.jpg", "a/img.jpg", "a/Img.JPG", "café.jpg", "cafe\u0301.jpg", "other.jpg", "b/IMG.jpg"]
    ids = assign_ids(names)
    assert len({unicodedata.normalize("NFC", image_id).casefold() for image_id in ids}) == len(names)
    assert [ids[at] for at in (1, 3, 5, 6)] == ["a/img", "café", "other", "b/IMG"]
    assert ids[0].startswith("a/IMG~")
    assert assign_ids(names[:1]) == ["a/IMG"]


def test_masks_by_stem_png_first() -> None:
    masks = index_masks(["m/a.bmp", "m/a.png", "m/x/b.TIF", "m/c.jpg", "m/.d.png", "other/e.png"], "m")
    assert masks == {"a": "m/a.png", "x/b": "m/x/b.TIF"}
    assert find_mask(masks, "a.jpg") == "m/a.png"
    assert find_mask(masks, "x/b.jpg") == "m/x/b.TIF"
    assert find_mask(masks, "b.jpg") is None
    folded = index_masks(["m/CAFE\u0301.png", "m/b.png", "m/B.png"], "m")
    assert find_mask(folded, "Caf\u00e9.jpg") == "m/CAFE\u0301.png"
    assert (find_mask(folded, "b.jpg"), find_mask(folded, "B.jpg")) == ("m/b.png", "m/B.png")
    assert find_mask({"a": "m/a.png", "a.jpg": "m/a.jpg.png"}, "a.jpg") == "m/a.jpg.png"


def test_describe_is_short() -> None:
    assert describe([]) == "no files"
    assert describe(["a.txt", "x/b.jpg", "x/c.jpg"]) == "1 files in the root, 2 files in x/"
    assert describe([f"{i}/a.jpg" for i in range(9)]).endswith("and 5 more folders")


def test_known_data_sets() -> None:
    published = "suim suim6 camvid cityscapes27 cityscapes19 cocostuff27 cocostuff171 voc ade20k potsdam3 potsdam6"
    assert set(DATASETS) == {"folder", "coco", "labelme", "datus2", "demo", *published.split()}
    # Published colours that two classes share: pole and polegroup; road and skyscraper.
    shared = {"cityscapes27": 1, "ade20k": 1}
    for name, layout in DATASETS.items():
        assert find(name) is layout
        assert layout.name == name
        assert layout.title
        if layout.class_names is not None:
            assert layout.palette is not None
            assert layout.palette.shape == (len(layout.class_names), 3)
            different = len({tuple(colour) for colour in layout.palette.tolist()})
            assert different == len(layout.class_names) - shared.get(name, 0)


def test_unknown_data_set_names_those_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"unknown data set 'imagenet'; known are .*suim6.*camvid"):
        find("imagenet")


@pytest.mark.parametrize("layout", DATASETS.values(), ids=DATASETS)
@pytest.mark.parametrize("files", [[], ["readme.txt"], ["a/b/c.csv", "masks/x.png.txt"]])
def test_no_images_is_a_usage_error_that_says_what_was_found(layout: object, files: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        layout.samples(files, None)  # type: ignore[attr-defined]
    assert "expected" in str(caught.value)
    assert describe(files) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", DATASETS.values(), ids=DATASETS)
def test_unknown_split_is_a_usage_error_that_names_the_splits(layout: object) -> None:
    with pytest.raises(UsageError) as caught:
        layout.samples(["images/a.jpg", "masks/a.png"], "nonsense")  # type: ignore[attr-defined]
    assert all(split in str(caught.value) for split in layout.splits)  # type: ignore[attr-defined]

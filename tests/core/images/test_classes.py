from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.images import classes
from datus2_ray.core.images.classes import VOC_COLOURS, VOC_VOID, count_named, draw_classes, find_classes
from datus2_ray.core.images.label_map import LabelMap
from datus2_ray.errors import UsageError


def counts_of(*maps: LabelMap) -> np.ndarray:
    return np.concatenate([label_map.count() for label_map in maps])


def ids(*values: int) -> LabelMap:
    """Return a map with a square of each id."""
    return LabelMap(np.kron(np.array([values], np.uint16), np.ones((9, 9), np.uint16)))


def colours(*values: int) -> LabelMap:
    squares = np.kron(np.array([values]), np.ones((9, 9), int))
    return LabelMap(np.dstack([squares >> 16, squares >> 8 & 255, squares & 255]).astype(np.uint8))


@pytest.mark.parametrize(
    ("found", "classes", "void"),
    [
        ((0, 1, 2), (0, 1, 2), ()),
        ((0, 1, 255), (0, 1), (255,)),
        ((0, 255), (0, 255), ()),
        ((0, 65535), (0, 65535), ()),
        ((0, 128, 255), (0, 128, 255), ()),
        ((0, 85, 170, 255), (0, 85, 170, 255), ()),
        ((0, 50, 100, 255), (0, 50, 100), (255,)),
        ((1, 255), (1, 255), ()),
        ((0, 7, 255, 300), (0, 7, 255, 300), ()),
        ((0, 7, 300, 65535), (0, 7, 300), (65535,)),
        ((0, 7, 255, 65535), (0, 7), (255, 65535)),
        ((0, 32768, 65535), (0, 32768, 65535), ()),
        ((255,), (), (255,)),
        ((3,), (3,), ()),
    ],
)
def test_ids_that_occur_are_classes_and_255_mostly_is_not(
    found: tuple[int, ...], classes: tuple[int, ...], void: tuple[int, ...]
) -> None:
    kept = find_classes(counts_of(ids(*found)))
    assert (kept.codes, tuple(map(int, kept.void)), kept.by_colour) == (classes, void, False)
    assert kept.names == tuple(f"class {code}" for code in classes)
    assert kept.pixels == (81,) * len(classes)
    assert kept.occurring == len(classes)


def test_what_one_map_lacks_another_has() -> None:
    assert find_classes(counts_of(ids(0), ids(255), ids(0, 0))).codes == (0, 255)
    assert find_classes(counts_of(ids(0), ids(255), ids(1))).codes == (0, 1)


@pytest.mark.parametrize(
    ("ignored", "codes"),
    [(["4"], (0, 1)), (["0", "4"], (1,)), (["255"], (0, 1, 4)), (["9"], (0, 1, 4))],
)
def test_named_ids_are_void(ignored: list[str], codes: tuple[int, ...]) -> None:
    assert find_classes(counts_of(ids(0, 1, 4)), ignored=ignored).codes == codes


def test_255_is_void_in_binary_masks_where_it_is_named() -> None:
    assert find_classes(counts_of(ids(0, 255)), ignored=["255"]).codes == (0,)


def test_255_is_a_class_where_it_is_one_of_so_many_names() -> None:
    palette = [(f"thing {number}", number) for number in range(256)]
    kept = find_classes(counts_of(ids(0, 1, 255, 65535)), palette)
    assert (kept.names, kept.void) == (("thing 0", "thing 1", "thing 255"), {"65535": 81})
    assert find_classes(counts_of(ids(0, 1, 255)), palette[:-1]).codes == (0, 1)


def test_colours_are_classes() -> None:
    kept = find_classes(counts_of(colours(0x0A0B0C, 0xFF0000), colours(0)))
    assert kept.by_colour
    assert kept.codes == (0, 0x0A0B0C, 0xFF0000)
    assert kept.names == ("colour #000000", "colour #0a0b0c", "colour #ff0000")
    for text in ("#ff0000", "255,0,0"):
        assert find_classes(counts_of(colours(0x0A0B0C, 0xFF0000, 0)), ignored=[text, "0"]).codes == (0x0A0B0C,)


def test_grey_in_three_channels_is_ids() -> None:
    kept = find_classes(counts_of(colours(0x010101, 0x020202), ids(3)))
    assert (kept.by_colour, kept.codes) == (False, (1, 2, 3))


def test_palettes_that_differ_between_files_leave_the_colours() -> None:
    one, two = np.array([[1, 2, 3], [200, 0, 0]], np.uint8), np.array([[200, 0, 0], [1, 2, 3]], np.uint8)
    squares = np.kron(np.array([[0, 1]], np.uint8), np.ones((9, 9), np.uint8))
    same = find_classes(counts_of(LabelMap(squares, one), LabelMap(squares, one)))
    assert (same.by_colour, same.codes) == (False, (0, 1))
    mixed = find_classes(counts_of(LabelMap(squares, one), LabelMap(squares, two), colours(0x010203)))
    assert (mixed.by_colour, mixed.codes) == (True, (0x010203, 0xC80000))


def test_vocs_border_is_void_and_its_classes_are_in_its_order() -> None:
    kept = find_classes(counts_of(colours(*VOC_COLOURS[3::-1], VOC_VOID)))
    assert (kept.codes, kept.void) == (VOC_COLOURS[:4], {"#e0e0c0": 81})
    assert VOC_VOID in find_classes(counts_of(colours(0x123456, 0, VOC_VOID))).codes


def test_a_palette_gives_names_order_and_void() -> None:
    palette = [("tree", 0x00FF00), ("sky", 0x0000FF), ("car", 0xFF0000)]
    kept = find_classes(counts_of(colours(*[0x0000FF] * 9, *[0x00FF00] * 9, 0x123456)), palette)
    assert (kept.names, kept.codes, list(kept.void)) == (("tree", "sky"), (0x00FF00, 0x0000FF), ["#123456"])
    # It is not that of these masks.
    assert find_classes(counts_of(colours(0x0000FF, 0x123456, 0x654321)), palette).names[1:] == (
        "colour #123456", "colour #654321",
    )  # fmt: skip
    assert find_classes(counts_of(ids(0, 2, 7)), palette).names == ("tree", "car", "class 7")


def soft(levels: int) -> LabelMap:
    ramp = np.concatenate([np.zeros(99), np.linspace(0, 255, levels + 2), np.full(99, 255)])
    return LabelMap(np.tile(ramp.astype(np.uint8), (30, 1)))


@pytest.mark.parametrize("levels", [2, 3, 8, 100])
def test_soft_edges_are_refused(levels: int) -> None:
    with pytest.raises(UsageError, match=rf"soft edges: {levels} of {levels + 2} ids occur only on borders"):
        find_classes(counts_of(soft(levels)))


def test_thin_things_and_noise_are_no_soft_edges() -> None:
    thin = ids(0, 1, 2, 3)
    thin.values[:, 4] = 9
    thin.values[:, 14] = 10
    assert find_classes(counts_of(thin)).codes == (0, 1, 2, 3, 9, 10)
    noise = LabelMap(np.random.default_rng(0).integers(0, 30, (40, 40)).astype(np.uint8))
    assert len(find_classes(counts_of(noise)).codes) == 30


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=40, unique=True), st.booleans(), st.integers(1, 2000))
def test_classes_are_drawn_by_their_codes(codes: list[int], by_colour: bool, strip: int) -> None:
    found = colours(*codes, 0xABCDEF) if by_colour else ids(*codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classes, "STRIP", strip)
        drawn = draw_classes(found.encode(), codes[1:] or [70000], by_colour)
    void = 255
    expected = [void, *range(len(codes) - 1), *([void] if by_colour else [])]
    np.testing.assert_array_equal(drawn[0, ::9], expected)
    assert (drawn == drawn[0]).all()


def test_a_data_set_that_names_its_classes_keeps_those_that_do_not_occur() -> None:
    kept = count_named(counts_of(ids(0, 2, 7, 255)), ("a", "b", "c"))
    assert (kept.codes, kept.pixels, kept.occurring, kept.void) == ((0, 1, 2), (81, 0, 81), 2, {"void": 162})
    assert count_named(counts_of(ids(0, 2)), ("a", "b", "c"), ["0"]).names == ("b", "c")
    assert kept.describe() == "2 classes, ids 0 (25.0 %), 2 (25.0 %); not scored: void (50.0 %)"

"""Which ids or colours of a set's ground truth are classes: those that occur, without void."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.label_map import read_label_map
from datus2_ray.core.images.labels import NOISE_8, NOISE_16, Labels
from datus2_ray.errors import UsageError

#: Classes of a set; more are instances, or soft edges of colours.
MAX_CLASSES = 4096


def voc_colours(count: int) -> tuple[int, ...]:
    """Return Pascal VOC's colours 0xRRGGBB of classes 0, 1, …: the bits of an id, spread over the three channels."""
    return tuple(
        sum(
            ((index >> 3 * level + channel & 1) << 7 - level) << 8 * (2 - channel)
            for level in range(3)
            for channel in range(3)
        )
        for index in range(count)
    )


#: Colours of the 21 classes of Pascal VOC, in the order of their ids, and of the border around objects, its void.
VOC_COLOURS = voc_colours(21)
VOC_VOID = 0xE0E0C0

#: What data sets call what has no class.
VOID = "void"

#: Pixels that are drawn at a time.
STRIP = 2**22

#: Number of possible ids, of 16 bits.
IDS = 2**16

#: Values shown in a line.
_SHOWN = 12


@dataclass(frozen=True)
class Classes:
    """Classes of a set's ground truth.

    Parameters
    ----------
    by_colour : bool
        Whether a code is a colour 0xRRGGBB, and not an id.
    codes : tuple of int
        Code of every class.
    names : tuple of str
        Name of every class.
    pixels : tuple of int
        Pixels of every class.
    void : dict of str to int
        Pixels of the ids or colours that are not scored.
    """

    by_colour: bool
    codes: tuple[int, ...]
    names: tuple[str, ...]
    pixels: tuple[int, ...]
    void: dict[str, int]

    @property
    def occurring(self) -> int:
        """Number of classes that have pixels."""
        return sum(count > 0 for count in self.pixels)

    def describe(self) -> str:
        """Return a line: the ids or colours that occur and their shares of the pixels, and what is void."""
        total = max(1, sum(self.pixels) + sum(self.void.values()))
        kind = "colours" if self.by_colour else "ids"
        found = [(_label(code, self.by_colour), n) for code, n in zip(self.codes, self.pixels, strict=True) if n]
        noun = "class" if len(found) == 1 else "classes"
        void = f"; not scored: {_shares(list(self.void.items()), total)}" if self.void else ""
        return f"{len(found)} {noun}, {kind} {_shares(found, total)}{void}" if found else f"no classes{void}"


def find_classes(
    counts: NDArray[np.int64], palette: Sequence[tuple[str, int]] = (), ignored: Sequence[str] = ()
) -> Classes:
    """Find the classes of a set.

    Values are ids where ids differ; they are colours where maps have colours, or where palettes of several maps give an
    index different colours. 255 (65535 in maps of 16 bits) is void, unless it is the second of two ids or ends grey
    levels at even distances, as in 0, 128, 255. The border of Pascal VOC's colours is void.

    Parameters
    ----------
    counts : ndarray of int64, shape [n, 4]
        Rows of :meth:`LabelMap.count <datus2_ray.core.images.label_map.LabelMap.count>` of all maps.
    palette : sequence of (str, int)
        Names and colours that the data give, in the order of the ids; where colours fit, others are void.
    ignored : sequence of str
        What is void beside: ids, or colours as ``#rrggbb`` or ``r,g,b``.

    Raises
    ------
    UsageError
        If the maps have soft edges, or more than :data:`MAX_CLASSES` values.
    """
    by_colour = _are_colours(counts)
    ids, colours = counts[:, 0], counts[:, 1]
    if by_colour:
        codes = np.where(colours >= 0, colours, np.minimum(ids, 255) * 0x010101)
    else:
        codes = np.where(ids >= 0, ids, colours & 255)
    found, places = np.unique(codes, return_inverse=True)
    pixels, inside = (np.bincount(places, weights=counts[:, at], minlength=len(found)).astype(int) for at in (2, 3))
    order = [code for _, code in palette] if by_colour else list(range(len(palette)))
    listed = by_colour and _covers(order, found, pixels)
    if not listed:
        _refuse_soft(found, pixels, inside, by_colour)
    given = {_normalise(text, by_colour) for text in ignored}
    void = {code for code in found.tolist() if _label(code, by_colour) in given}
    if listed:
        void |= set(found.tolist()) - set(order)
    elif not given & {_label(code, by_colour) for code in (NOISE_8, NOISE_16)}:
        titles = [] if by_colour else zip(palette, order, strict=True)
        named = {code for (name, _), code in titles if name.casefold() != VOID}
        void |= _find_void([code for code in found.tolist() if code not in void], by_colour) - named
    kept = [code for code in found.tolist() if code not in void]
    if listed or (by_colour and set(kept) <= set(VOC_COLOURS)):
        sequence = order if listed else list(VOC_COLOURS)
        kept.sort(key=sequence.index)
    names = {code: name for (name, _), code in zip(palette, order, strict=True)}
    count = dict(zip(found.tolist(), pixels.tolist(), strict=True))
    kind = "colour" if by_colour else "class"
    return Classes(
        by_colour,
        tuple(kept),
        tuple(names.get(code, f"{kind} {_label(code, by_colour)}") for code in kept),
        tuple(count[code] for code in kept),
        {_label(code, by_colour): count[code] for code in sorted(void)},
    )


def count_named(counts: NDArray[np.int64], names: Sequence[str], ignored: Sequence[str] = ()) -> Classes:
    """Return the classes of a data set that names them, whose maps have the ids 0, 1, … and are else void."""
    kept = [number for number in range(len(names)) if str(number) not in ignored]
    pixels = [int(counts[counts[:, 0] == number, 2].sum()) for number in kept]
    rest = int(counts[:, 2].sum()) - sum(pixels)
    return Classes(
        False, tuple(kept), tuple(names[number] for number in kept), tuple(pixels), {"void": rest} if rest else {}
    )


def draw_classes(data: bytes, codes: Sequence[int], by_colour: bool) -> Labels:
    """Return the number of every pixel's class, [H, W], from an encoded map; the type's largest number is void."""
    label_map = read_label_map(data)
    values = label_map.colours() if by_colour else label_map.ids()
    dtype = np.uint8 if len(codes) < NOISE_8 else np.uint16
    number = _by_search if by_colour or max(codes) >= IDS else _by_table
    drawn: Labels = np.empty(values.shape, dtype)
    # Strip by strip: numbers of 8 bytes of every pixel of a large image would take gigabytes.
    rows = max(1, STRIP // max(1, values.shape[1]))
    for start in range(0, len(values), rows):
        drawn[start : start + rows] = number(values[start : start + rows], codes, np.iinfo(dtype).max)
    return drawn


def _by_table(values: NDArray[np.uint32], codes: Sequence[int], void: int) -> NDArray[np.uint16]:
    """Return the number of every value among the codes, ids all of them: in a tenth of the time of a search."""
    numbers = np.full(IDS, void, np.uint16)
    numbers[list(codes)] = np.arange(len(codes))
    return numbers[values]


def _by_search(values: NDArray[np.uint32], codes: Sequence[int], void: int) -> NDArray[np.int64]:
    """Return the number of every value among the codes, which may be colours."""
    order = np.argsort(codes)
    ascending = np.asarray(codes, np.uint32)[order]
    places = np.minimum(np.searchsorted(ascending, values), len(codes) - 1)
    return np.where(ascending[places] == values, order[places], void)


def _are_colours(counts: NDArray[np.int64]) -> bool:
    ids, colours = counts[:, 0], counts[:, 1]
    own = colours[ids < 0]
    if ((own >> 16 != (own & 255)) | (own >> 8 & 255) != (own & 255)).any():
        return True
    indexed = (ids >= 0) & (colours >= 0)
    pairs = np.unique(counts[indexed][:, :2], axis=0)
    # One index with two colours: palettes that a program made anew for every file.
    indices, shades = (len(np.unique(pairs[:, column])) for column in (0, 1))
    return len(pairs) > indices >= shades


def _covers(order: list[int], found: NDArray[np.int64], pixels: NDArray[np.int64]) -> bool:
    """Return whether nearly all pixels have one of the colours of a palette; borders may be off it."""
    return bool(order) and bool(pixels[np.isin(found, order)].sum() >= 0.9 * pixels.sum())


def _refuse_soft(
    found: NDArray[np.int64], pixels: NDArray[np.int64], inside: NDArray[np.int64], by_colour: bool
) -> None:
    kind = "colours" if by_colour else "ids"
    remedy = (
        "resize masks by nearest neighbour, without antialiasing or JPEG, or threshold them; or give --masks none to "
        "run without ground truth"
    )
    if is_soft(found, pixels, inside):
        edges = int((inside == 0).sum())
        raise UsageError(f"the masks have soft edges: {edges} of {len(found)} {kind} occur only on borders; {remedy}")
    if len(found) > MAX_CLASSES:
        raise UsageError(f"the masks have {len(found):,} {kind}, more than {MAX_CLASSES:,} classes; {remedy}")


def is_soft(found: NDArray[np.int64], pixels: NDArray[np.int64], inside: NDArray[np.int64]) -> bool:
    """Return whether most values of some maps only occur on borders, beside few that cover most pixels."""
    edges = inside == 0
    if pixels[~edges].sum() < 0.5 * pixels.sum():
        return False
    if edges.sum() >= 8:
        return bool(edges.sum() > (~edges).sum())
    # Black and white, and a few greys between them that no region has.
    between = edges & (found > 0) & (found < NOISE_8)
    return bool(between.sum() >= 2) and set(found[~edges].tolist()) == {0, NOISE_8}


def _find_void(codes: list[int], by_colour: bool) -> set[int]:
    """Return the codes that are void by custom."""
    if by_colour:
        return {VOC_VOID} if set(codes) <= {*VOC_COLOURS, VOC_VOID} else set()
    void = {NOISE_16}
    rest = [code for code in codes if code != NOISE_16]
    if not rest or max(rest) <= NOISE_8:
        void.add(NOISE_8)
    void &= set(codes)
    others = [code for code in codes if code not in void]
    steps = np.diff(codes)
    greys = len(void) == 1 and len(codes) > 2 and steps.min() > 1 and np.ptp(steps) <= max(1, 0.01 * steps.max())
    return set() if greys or (len(others) == 1 and len(void) == 1) else void


def _label(code: int, by_colour: bool) -> str:
    return f"#{code:06x}" if by_colour else str(code)


def _normalise(text: str, by_colour: bool) -> str:
    """Return an id or a colour as :func:`_label` writes it."""
    text = text.strip().lower()
    if text.count(",") == 2:
        red, green, blue = (int(part) for part in text.split(","))
        return _label(red << 16 | green << 8 | blue, True)
    return _label(int(text) * 0x010101, True) if by_colour and not text.startswith("#") else text


def _shares(values: list[tuple[str, int]], total: int) -> str:
    shown = [f"{label} ({100 * count / total:.1f} %)" for label, count in values[:_SHOWN]]
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(shown) + more

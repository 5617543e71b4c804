"""A card for every cluster: its class, its size, and the pictures of its most typical segments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from datus2_ray.core.names.names import UNNAMED, NamedClass
from datus2_ray.engine.naming import Naming
from datus2_ray.report.colours import Colours, to_hex
from datus2_ray.report.facts import FinishedRun
from datus2_ray.report.pictures import Picture, crop_segment, photo
from datus2_ray.report.samples import read_patch_maps, rows_by_id
from datus2_ray.report.survey import Survey
from datus2_ray.report.typical import TypicalSegment
from datus2_ray.sources.images_table import ImagesTable


@dataclass(frozen=True)
class ClusterCard:
    """A cluster in the report, with its class in the initial and in the refined masks, and the one that it was named.

    ``named`` is the class that most of its area has, None where that is none.
    """

    number: int
    colour: str
    striped: bool
    classes: list[str]
    segments: int
    images: int
    share: float
    crops: list[Picture]
    named: NamedClass | None


def cluster_cards(
    run: FinishedRun, survey: Survey, colours: Colours, naming: Naming | None = None
) -> list[ClusterCard]:
    """Return a card for every cluster, the largest first."""
    metrics = run.metrics or {}
    matchings = [metrics[name]["matching"] for name in ("initial", "refined") if name in metrics]
    crops = draw_crops(run, [segment for segments in survey.typical for segment in segments])
    cards = []
    for cluster in (-survey.cluster_segments).argsort(kind="stable").tolist():
        labels = [matching[cluster] for matching in matchings]
        cards.append(
            ClusterCard(
                number=cluster,
                colour=to_hex(colours.rgb[cluster].tolist()),
                striped=bool(colours.striped[cluster]),
                classes=["no class" if label is None else metrics["classes"][label] for label in labels],
                segments=int(survey.cluster_segments[cluster]),
                images=int(survey.cluster_images[cluster]),
                share=float(survey.cluster_shares[cluster]),
                crops=[crops[segment] for segment in survey.typical[cluster]],
                named=_named(naming, cluster),
            )
        )
    return cards


def _named(naming: Naming | None, cluster: int) -> NamedClass | None:
    if naming is None or naming.cluster_classes[cluster] == UNNAMED:
        return None
    return naming.classes[naming.cluster_classes[cluster]]


def draw_crops(run: FinishedRun, segments: Iterable[TypicalSegment]) -> dict[TypicalSegment, Picture]:
    """Draw segments, each cut out of its image; every part is read once."""
    by_part: dict[str, dict[str, list[TypicalSegment]]] = defaultdict(lambda: defaultdict(list))
    for segment in segments:
        by_part[segment.part][segment.image_id].append(segment)
    crops: dict[TypicalSegment, Picture] = {}
    table = ImagesTable.of(run.ingested)
    for part, by_image in sorted(by_part.items()):
        images = rows_by_id(table.read(part, ["image_id", "image"]), list(by_image))
        maps = read_patch_maps(run.discovered, part, list(by_image))
        for image_id, of_image in by_image.items():
            pixels = table.decode(images[image_id]["image"])
            for segment in of_image:
                crop = crop_segment(pixels, maps[image_id], segment.segment)
                alt = f"Segment {segment.segment} of {image_id}, {segment.distance:.3g} from the centroid"
                crops[segment] = photo(crop, f"{segment.distance:.2g}", alt)
    return crops

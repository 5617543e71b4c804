"""A card for every cluster: its class, its size, and the pictures of its most typical segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datus2_ray.report.colours import Colours, to_hex
from datus2_ray.report.pictures import Picture
from datus2_ray.report.samples import draw_crops
from datus2_ray.report.survey import Survey
from datus2_ray.store.run_folder import RunFolder


@dataclass(frozen=True)
class ClusterCard:
    """A cluster as the report shows it: its class in the initial and in the refined masks."""

    number: int
    colour: str
    striped: bool
    classes: list[str]
    segments: int
    images: int
    share: float
    crops: list[Picture]


def cluster_cards(folder: RunFolder, summary: Mapping[str, Any], survey: Survey, colours: Colours) -> list[ClusterCard]:
    """Make a card for every cluster, the largest first.

    Parameters
    ----------
    folder : RunFolder
        The run.
    summary : mapping
        What ``summary.json`` holds.
    survey : Survey
        Sizes and typical segments.
    colours : Colours
        Of the clusters.
    """
    metrics = summary["metrics"] or {}
    matchings = [metrics[name]["matching"] for name in ("initial", "refined") if name in metrics]
    crops = draw_crops(folder, [segment for segments in survey.typical for segment in segments])
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
            )
        )
    return cards

"""The report of a run: one HTML file that holds all it shows, to be opened, mailed or archived anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from datus2_ray.errors import UsageError
from datus2_ray.report.cards import cluster_cards
from datus2_ray.report.colours import HATCHES, Colours, class_colours, cluster_colours, to_hex
from datus2_ray.report.curves import kmeans_chart, training_chart
from datus2_ray.report.facts import (
    count_facts,
    describe_refinement,
    read_quarantine,
    run_facts,
    title_of,
    warnings_of,
)
from datus2_ray.report.samples import MaskColours, OtherRun, draw_samples
from datus2_ray.report.scores import (
    COLUMNS,
    EXPLANATIONS,
    TITLES,
    class_rows,
    column_groups,
    other_rows,
    score_rows,
    sets_of,
    verdict,
)
from datus2_ray.report.survey import survey_segments
from datus2_ray.store import storage
from datus2_ray.store.facts import Ingested
from datus2_ray.store.run_folder import REPORT, RunFolder


def write_report(folder: RunFolder, beside: RunFolder | None = None) -> str:
    """Write ``report/index.html``: one file without any address of another one.

    The tables are read a part at a time and only few pictures are kept, so memory does not grow with the images.

    Parameters
    ----------
    folder : RunFolder
        A finished run: ``config.json``, ``summary.json`` and its tables are there.
    beside : RunFolder, optional
        Another finished run over the same images: its masks and scores are shown too.

    Returns
    -------
    str
        URI of the file.

    Raises
    ------
    StorageError
        Something of the run is missing or cannot be read.
    UsageError
        The other run did not see the same images.
    """
    config, summary = (storage.read_json(folder.path(name)) for name in ("config.json", "summary.json"))
    # Shards say themselves of which data set they are.
    config["dataset"] = folder.require(Ingested).facts.dataset
    metrics = summary["metrics"]
    survey = survey_segments(folder, summary["clusters"])
    classes, scores = None, None
    if metrics:
        classes = class_colours(config["dataset"], len(metrics["classes"]))
        scores = _scores(metrics, classes)
    colours = mask_colours(summary, classes)
    other = _other_run(folder, beside, classes) if beside else None
    if scores and other:
        scores["rows"] += other_rows(storage.read_json(other.folder.path("summary.json"))["metrics"], other.name)
    cards = cluster_cards(folder, summary, survey, colours.initial)
    page = _environment().get_template("report.html.j2").render(
        title=title_of(config),
        warnings=warnings_of(summary),
        counts=count_facts(summary, survey),
        facts=run_facts(folder, config, summary),
        scores=scores,
        sets=[(key, TITLES[key]) for key in sets_of(metrics)] if metrics else [],
        samples=draw_samples(folder, colours, other),
        beside=other.name if other else None,
        hatches={name: [to_hex(colour) for colour in pair] for name, pair in HATCHES.items()},
        cards=cards,
        dense=max(len(card.crops) for card in cards) == 1,
        hidden_cards=sum(not card.crops and card.segments > 0 for card in cards),
        charts=[chart for chart in (kmeans_chart(folder), training_chart(folder, summary)) if chart],
        refinement=describe_refinement(summary["refinement"]),
        refined=colours.refined is not None,
        striped=any(masks.striped.any() for masks in (colours.initial, colours.refined) if masks),
        seconds=sorted(summary["seconds"].items(), key=lambda item: -item[1]),
        quarantine=read_quarantine(folder),
        settings=json.dumps(config, indent=2, ensure_ascii=False),
    )  # fmt: skip
    uri = folder.path(REPORT)
    storage.write_bytes(uri, page.encode())
    return uri


def _other_run(folder: RunFolder, beside: RunFolder, classes: Colours | None) -> OtherRun:
    summary, config = (storage.read_json(beside.path(name)) for name in ("summary.json", "config.json"))
    if beside.require(Ingested).fingerprint != folder.require(Ingested).fingerprint:
        raise UsageError(f"{beside.uri} is a run over other images than {folder.uri}; give one of the same source")
    return OtherRun(config["preset"], beside, mask_colours(summary, classes))


def mask_colours(summary: Mapping[str, Any], classes: Colours | None) -> MaskColours:
    """Decide in which colours the masks of a run are shown: those of the classes that its scores match them to.

    Parameters
    ----------
    summary : mapping
        What ``summary.json`` holds.
    classes : Colours, optional
        Colours of the classes; None without ground truth.
    """
    metrics = summary["metrics"] or {}

    def matched(name: str) -> Colours:
        return cluster_colours(summary["clusters"], metrics[name]["matching"] if metrics else None, classes)

    refined = None if "skipped" in summary["refinement"] else matched("refined")
    return MaskColours(matched("initial"), refined, classes)


def _scores(metrics: Mapping[str, Any], classes: Colours) -> dict[str, Any]:
    return {
        "verdict": verdict(metrics),
        "images": metrics["images"],
        "groups": column_groups(),
        "columns": [name for _, name, _ in COLUMNS],
        "rows": score_rows(metrics),
        "explanations": EXPLANATIONS,
        "classes": list(zip(class_rows(metrics), [to_hex(colour) for colour in classes.rgb.tolist()], strict=True)),
    }


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f}"
    environment.filters["duration"] = _duration
    return environment


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{seconds / 60:.1f} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

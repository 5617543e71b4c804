"""The report of a run: one HTML file with everything that it shows, to be opened, mailed or archived anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from datus2_ray.engine.naming import find_naming
from datus2_ray.errors import UsageError
from datus2_ray.report.cards import cluster_cards
from datus2_ray.report.colours import HATCHES, Colours, class_colours, cluster_colours, to_hex
from datus2_ray.report.curves import em_chart, kmeans_chart, training_chart
from datus2_ray.report.facts import FinishedRun, read_run
from datus2_ray.report.overview import Line, count_lines, read_quarantine, run_lines, title_of, warnings_of
from datus2_ray.report.samples import MaskColours, OtherRun, draw_samples
from datus2_ray.report.scores import (
    COLUMNS,
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
from datus2_ray.store.run_folder import EXPLORER_PORT, REPORT, RunFolder


def write_report(folder: RunFolder, beside: RunFolder | None = None) -> str:
    """Write ``report/index.html``, a file that loads no other file.

    The tables are read a part at a time and few pictures are kept, so that memory does not grow with the images.

    Parameters
    ----------
    folder : RunFolder
        A finished run.
    beside : RunFolder, optional
        Another finished run over the same images, whose masks and scores are shown too.

    Returns
    -------
    str
        URI of the file.

    Raises
    ------
    StorageError
        If something of a run is missing or cannot be read.
    UsageError
        If the other run is over other images.
    """
    run = read_run(folder)
    survey = survey_segments(run)
    classes, scores = None, None
    if run.metrics:
        classes = class_colours(run.config.dataset, len(run.metrics["classes"]))
        scores = _scores(run.metrics, classes)
    colours = mask_colours(run, classes)
    other = _other_run(run, read_run(beside), classes) if beside else None
    if scores and other and other.run.metrics:
        scores["rows"] += other_rows(other.run.metrics, other.name)
    warnings = warnings_of(run)
    try:
        naming = find_naming(folder, run.k)
    except UsageError as error:  # of another clustering, or damaged by hand: the report is right without them
        naming = None
        warnings.append(Line("The names are not shown", f"{error}."))
    cards = cluster_cards(run, survey, colours.initial, naming)
    page = environment().get_template("report.html.j2").render(
        title=title_of(run.config),
        warnings=warnings,
        counts=count_lines(run, survey),
        facts=run_lines(run),
        scores=scores,
        sets=[(key, TITLES[key]) for key in sets_of(run.metrics)] if run.metrics else [],
        samples=draw_samples(run, colours, other),
        beside=other.name if other else None,
        segments_shown=run.config.discover.unit == "segments",
        hatches={name: [to_hex(colour) for colour in pair] for name, pair in HATCHES.items()},
        cards=cards,
        classes=[] if naming is None else naming.classes,
        explorer=f"http://127.0.0.1:{EXPLORER_PORT}/",
        run=folder.uri,
        dense=max(len(card.crops) for card in cards) == 1,
        hidden_cards=sum(not card.crops and card.segments > 0 for card in cards),
        charts=[
            kmeans_chart(run.clustered),
            *([em_chart(run.fitted)] if run.fitted else []),
            *([training_chart(run.refined)] if run.refined else []),
        ],
        skipped=None if run.predicted else run.skipped,
        striped=any(masks.striped.any() for masks in (colours.initial, colours.refined) if masks),
        seconds=sorted(run.seconds.items(), key=lambda item: -item[1]),
        quarantine=read_quarantine(folder),
        settings=json.dumps(run.config.model_dump(mode="json"), indent=2, ensure_ascii=False),
    )  # fmt: skip
    uri = folder.path(REPORT)
    storage.write_bytes(uri, page.encode())
    return uri


def _other_run(run: FinishedRun, other: FinishedRun, classes: Colours | None) -> OtherRun:
    if other.ingested.fingerprint != run.ingested.fingerprint:
        raise UsageError(
            f"{other.folder.uri} is a run over other images than {run.folder.uri}; give one of the same source"
        )
    return OtherRun(other.config.preset, other, mask_colours(other, classes))


def mask_colours(run: FinishedRun, classes: Colours | None) -> MaskColours:
    """Return the colours of the masks of a run: those of the matched classes if there is ground truth."""

    def matched(name: str) -> Colours:
        return cluster_colours(run.k, run.metrics[name]["matching"] if run.metrics else None, classes)

    return MaskColours(matched("initial"), matched("refined") if run.predicted else None, classes)


def _scores(metrics: Mapping[str, Any], classes: Colours) -> dict[str, Any]:
    return {
        "verdict": verdict(metrics),
        "images": metrics["images"],
        "groups": column_groups(),
        "columns": [name for _, name, _ in COLUMNS],
        "rows": score_rows(metrics),
        "classes": list(zip(class_rows(metrics), [to_hex(colour) for colour in classes.rgb.tolist()], strict=True)),
    }


def environment() -> jinja2.Environment:
    """Return what renders the templates of this package."""
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

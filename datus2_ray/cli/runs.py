"""Commands on a finished run: scores, status, export, relabel, report, clean."""

from __future__ import annotations

from typing import Annotated

import typer

from datus2_ray.cli.flags import Debug, option, shares


def export(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run, or of predicted masks.")],
    format_name: Annotated[
        str,
        typer.Option("--format", help="Format: png, coco, coco-panoptic, cvat, label-studio, yolo, hf or geojson."),
    ],
    masks: Annotated[str | None, option("--masks", "export.masks")] = None,
    instances: Annotated[bool, option("--instances", "export.instances")] = False,
    min_area: Annotated[int, option("--min-area", "export.min_area")] = 0,
    min_confidence: Annotated[float, option("--min-confidence", "export.min_confidence")] = 0.0,
    splits: Annotated[str | None, option("--splits", "export.splits", metavar="train=0.8,val=0.2")] = None,
    image_url: Annotated[str, option("--image-url", "export.image_url")] = "",
    debug: Debug = False,
) -> None:
    """Write the masks of a finished run in a format that other tools read."""
    from datus2_ray.commands.export import export as export_masks

    given = {"splits": shares("--splits", splits)} if splits else {}
    objects = {"masks": masks, "instances": instances, "min_area": min_area, "min_confidence": min_confidence}
    typer.echo(export_masks(run_folder, format_name, image_url=image_url, **objects, **given))


def relabel(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    clusters: Annotated[
        int, typer.Option("--clusters", help="Number of clusters K, from 2 to the number of fine clusters.")
    ],
    debug: Debug = False,
) -> None:
    """Write masks, scores and report of a finished run for another number of clusters."""
    from datus2_ray.cli.terminal import print_summary
    from datus2_ray.commands.relabel import relabel as relabel_run

    print_summary(relabel_run(run_folder, clusters), run_folder)


def evaluate(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    out: Annotated[str | None, typer.Option("--out", help="JSON file for the scores of several runs.")] = None,
    debug: Debug = False,
) -> None:
    """Print the scores of a finished run, or mean and standard deviation over several, such as seeds."""
    from rich.console import Console

    from datus2_ray.cli.terminal import print_summary, seeds_table
    from datus2_ray.commands.evaluate import read_metrics, read_summary
    from datus2_ray.core.score.seeds import over_seeds
    from datus2_ray.store import storage

    if len(runs) == 1:
        print_summary(read_summary(runs[0]), runs[0])
        return
    scores = over_seeds(read_metrics(runs))
    Console(highlight=False).print(seeds_table(scores))
    if out is not None:
        storage.write_json(out, scores)


def status(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    debug: Debug = False,
) -> None:
    """Show which stages of a run are done, begun, or not begun."""
    from rich.console import Console

    from datus2_ray.cli.terminal import status_table
    from datus2_ray.commands.status import read_status
    from datus2_ray.store import storage
    from datus2_ray.store.run_folder import RunFolder

    folder = storage.absolute(run_folder)
    Console(highlight=False).print(status_table(read_status(RunFolder(folder))))
    typer.echo(f"a result lies in {folder}/STAGE/RESULT/")


def clean(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    debug: Debug = False,
) -> None:
    """Remove from a run folder what is not current: results of other settings, leftovers of killed writes."""
    from datus2_ray.cli.terminal import size
    from datus2_ray.commands.clean import clean as clean_folder
    from datus2_ray.store import storage

    found = clean_folder(storage.absolute(run_folder), dry_run)
    for item in found:
        typer.echo(f"{size(item.bytes):>10}  {item.uri}")
    verb = "would be removed" if dry_run else "removed"
    typer.echo(f"{len(found)} results and files, {size(sum(item.bytes for item in found))}, {verb}")


def report(
    out: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    beside: Annotated[str | None, typer.Option(help="Another run over the same images, to show beside it.")] = None,
    debug: Debug = False,
) -> None:
    """Write the report of a finished run again, optionally beside another run."""
    from datus2_ray.report.html import write_report
    from datus2_ray.store.run_folder import RunFolder

    typer.echo(write_report(RunFolder(out), RunFolder(beside) if beside else None))

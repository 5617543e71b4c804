"""Commands that name clusters: explore, name, import."""

from __future__ import annotations

from typing import Annotated

import typer

from datus2_ray.cli.flags import Debug
from datus2_ray.errors import UsageError


def explore(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of this machine; default 8237 or a free one.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only show the address.")] = False,
    debug: Debug = False,
) -> None:
    """Look at the clusters of a finished run in a browser: name, join, split, correct, teach."""
    import webbrowser

    from datus2_ray.commands.explore import explore as serve

    def ready(address: str) -> None:
        typer.echo(f"explorer: {address}\nCtrl+C ends it; all that you did is saved")
        if not no_browser:
            webbrowser.open(address)

    serve(run_folder, port, ready)


def name(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    file: Annotated[
        str | None, typer.Option("--file", help="YAML file of names to take, as RUN/names.yaml is.")
    ] = None,
    carry_over: Annotated[
        bool, typer.Option("--carry-over", help="Map names of an earlier clustering to the current one by overlap.")
    ] = False,
    masks: Annotated[bool, typer.Option("--masks", help="Write the masks of classes, and score them.")] = False,
    teach: Annotated[
        bool, typer.Option("--teach", help="Teach a layer the named segments; write its masks, with confidence, too.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Show how far the clusters of a finished run are named; take names from a file, write masks of classes."""
    from rich.console import Console

    from datus2_ray.cli.terminal import names_table
    from datus2_ray.commands import name as naming
    from datus2_ray.commands.carry_over import carry_over_names

    if carry_over:
        typer.echo("\n".join(carry_over_names(run_folder)))
    if file is not None:
        naming.take_names(run_folder, file)
    typer.echo(naming.naming_progress(run_folder))
    if masks or teach:
        summary = naming.name(run_folder, teach=teach)
        if scores := (summary["metrics"] or {}).get("names"):
            Console(highlight=False).print(names_table(scores))


def import_masks(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    coco: Annotated[str | None, typer.Option("--coco", help="COCO file of annotations.")] = None,
    cvat: Annotated[str | None, typer.Option("--cvat", help='Zip file of CVAT, "Segmentation mask 1.1".')] = None,
    debug: Debug = False,
) -> None:
    """Take masks that were drawn or corrected elsewhere as names of clusters and segments; score the run by them."""
    from datus2_ray.cli.terminal import print_imported
    from datus2_ray.commands.annotations import import_annotations

    if (coco is None) == (cvat is None):
        raise UsageError("give the file to import: --coco FILE or --cvat FILE")
    print_imported(import_annotations(run_folder, str(coco or cvat), "coco" if coco else "cvat"))

"""`datus2 experiment`: which experiment is meant, and what of it is printed."""

from __future__ import annotations

from typing import Annotated

import typer

from datus2_ray.cli.flags import numbers, takes_settings
from datus2_ray.config import RunConfig
from datus2_ray.errors import UsageError

EXPERIMENTS_HELP = (
    "presets, ablation, clusters, names, resolution, patch-size, data-size, dedicated, backbones, or paper: all of the "
    "paper's experiments and questions, with a page."
)


@takes_settings(
    "no_refine",
    out=Annotated[str, typer.Option("--out", help="Folder for runs, table, plot and CSV; a local path or s3:// URI.")],
)  # fmt: skip
def experiment(
    config: RunConfig,
    name: Annotated[str, typer.Argument(help=EXPERIMENTS_HELP)],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds per variant, from --seed on.")] = 3,
    values: Annotated[str | None, typer.Option(help="Points of a sweep, such as 6,9,12.")] = None,
    refine: Annotated[bool, typer.Option("--refine", help="Refine the masks of every run.")] = False,
    backbones: Annotated[
        list[str] | None,
        typer.Option(
            help="Of backbones: what --backbone takes, or FILE@-3 for a block; of paper: one with patches of another "
            "size; once for each."
        ),
    ] = None,
) -> None:
    """Compare variants of a preset on the images of SOURCE, over several seeds: what each part brings and costs."""
    points = numbers("--values", values)
    if name == "backbones":
        _compare_backbones(config, backbones or [], seeds, refine, values)
        return
    if backbones and name != "paper":
        raise UsageError(f"--backbones are those of `datus2 experiment backbones` and `paper`, not of {name}")
    if not refine:
        config = config.model_copy(update={"refine": config.refine.model_copy(update={"enabled": False})})

    from datus2_ray.commands.experiments import answer
    from datus2_ray.commands.experiments.run import run_experiment

    def note(line: str) -> None:
        typer.echo(f"=== {line}")

    if name == "paper":
        from datus2_ray.commands.experiments.paper import run_paper, write_paper

        if points:
            raise UsageError("--values are those of a sweep; `experiment paper` has none")
        typer.echo(write_paper(config, run_paper(config, seeds, backbones or (), note)))
        return
    results = run_experiment(name, config, seeds, points, note)
    table, uris = answer.write_answer(name, results, config.out)
    typer.echo(table + "\n".join(uris))


def _compare_backbones(config: RunConfig, backbones: list[str], seeds: int, refine: bool, values: str | None) -> None:
    """Run `experiment backbones`: the masks of the preset are refined as it says, those of `paper` if asked for."""
    from datus2_ray.commands.experiments.backbones import run_backbones
    from datus2_ray.commands.experiments.backbones_answer import write_backbones

    if values:
        raise UsageError("--values are those of a sweep; backbones have none")
    results = run_backbones(config, backbones, seeds, refine, lambda line: typer.echo(f"=== {line}"))
    table, uris = write_backbones(results, config.out)
    typer.echo(table + "\n".join(uris))

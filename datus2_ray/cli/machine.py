"""Commands on machines and settings: submit, doctor, settings, datasets."""

from __future__ import annotations

from typing import Annotated

import typer

from datus2_ray.cli.flags import Debug


def submit(
    line: Annotated[list[str], typer.Argument(metavar="COMMAND ...", help="run, ingest, ... with its flags.")],
    address: Annotated[
        str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="URL of the cluster's dashboard.")
    ] = "http://127.0.0.1:8265",
    working_dir: Annotated[str, typer.Option(help="Clone of the project that is sent, or the URI of a zip.")] = ".",
    runtime_env: Annotated[str | None, typer.Option(help="YAML file: env_vars, pip and so on for the job.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not follow the job's log to its end.")] = False,
    debug: Debug = False,
) -> None:
    """Run COMMAND as a job of a Ray cluster and follow its log; repeated, follow or resume that job."""
    from datus2_ray.cli.app import app  # which has this command, too
    from datus2_ray.commands import submit as jobs

    job = jobs.read_command(app, line)
    job.fingerprint()
    environment = jobs.read_runtime_env(working_dir, runtime_env)
    client = jobs.connect(address)
    submission_id, submitted = jobs.start(client, job, environment)
    typer.echo(f"job {submission_id}: {'submitted' if submitted else 'runs already'}")
    if not no_wait:
        jobs.follow(client, submission_id)


def doctor(
    source: Annotated[str | None, typer.Option("--source", help="Folder or s3:// URI to list.")] = None,
    backbone: Annotated[str | None, typer.Option("--backbone", help="Weights to load, as for run.")] = None,
    debug: Debug = False,
) -> None:
    """Check Ray, memory, GPUs, storage and weights, and print what to do; exit code 1 if a run cannot work."""
    from datus2_ray.cli.terminal import print_findings
    from datus2_ray.commands.doctor import diagnose

    findings = diagnose(source, backbone)
    print_findings(findings)
    if any(finding.state == "failure" for _, finding in findings):
        raise typer.Exit(1)


def settings(
    key: Annotated[str | None, typer.Argument(help="A setting, such as discover.place, or a stage.")] = None,
    debug: Debug = False,
) -> None:
    """Show a setting or those of a stage, with defaults and help; without KEY, all of them as a Markdown page."""
    from datus2_ray.cli.settings_page import settings_page
    from datus2_ray.config.catalogue import find_settings

    typer.echo(settings_page() if key is None else "\n".join(map(str, find_settings(key))), nl=key is not None)


def datasets(
    name: Annotated[str | None, typer.Argument(help="A data set, as for --dataset.")] = None,
    debug: Debug = False,
) -> None:
    """Show a data set: classes, splits, origin, licence, folders; without NAME, all of them as a Markdown page."""
    from datus2_ray.cli.datasets_page import datasets_page, describe_dataset

    typer.echo(datasets_page() if name is None else describe_dataset(name), nl=name is not None)

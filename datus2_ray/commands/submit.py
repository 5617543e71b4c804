"""Commands as Ray jobs: a command is submitted once while it runs, and again, to go on, after it ended."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import typer
import yaml

from datus2_ray.config.load import load_from_command
from datus2_ray.errors import DatusError, UsageError
from datus2_ray.store.commit import fingerprint

#: Commands that run as jobs.
COMMANDS = ("run", "ingest", "pretrain", "predict", "relabel", "evaluate", "export")

#: Parameters of these commands that are paths, which must be the same on the cluster.
PATHS = ("source", "out", "run_folder", "runs")

#: Key of a job's metadata that says where it writes. No two jobs may write to the same place.
OUT = "datus2_out"

#: Seconds between two questions whether a job has ended, once its log has.
PAUSE = 1.0


@dataclass(frozen=True)
class Job:
    """A command that runs on a cluster; `parsed` holds its arguments by the names of its parameters."""

    command: str
    arguments: tuple[str, ...]
    parsed: dict[str, Any]

    @property
    def entrypoint(self) -> str:
        """Shell command of the job."""
        return shlex.join(["python", "-m", "datus2_ray", self.command, *self.arguments])

    @property
    def out(self) -> str:
        """Where the job writes; empty if it writes nothing."""
        # relabel writes into the folder that it reads.
        return str(self.parsed.get("out") or self.parsed.get("run_folder") or "").rstrip("/")

    def fingerprint(self) -> str:
        """Return the submission id of the first attempt: a hash of the command, its arguments and settings.

        Raises
        ------
        UsageError
            If the job would refuse a setting, or a path is relative to this machine.
        """
        for name in PATHS:
            value = self.parsed.get(name)
            for path in [value] if isinstance(value, str) else value or []:
                if "://" not in path and not path.startswith("/"):
                    raise UsageError(f"{path} is relative to this machine; give s3://… or a path that every node has")
        asked = {name: value for name, value in self.parsed.items() if name != "debug"}
        if "config" in asked:  # a command that takes all settings of a run
            asked = load_from_command(asked).model_dump(mode="json")
        return f"datus2-{self.command}-{fingerprint('job', 1, asked, [self.command])[:16]}"


def read_command(app: typer.Typer, line: list[str]) -> Job:
    """Parse a command and its arguments as the job will, so that mistakes show before anything is sent."""
    name, *arguments = line
    if name not in COMMANDS:
        raise UsageError(f"{name!r} does not run as a job; there are {', '.join(COMMANDS)}")
    group = cast("typer.core.TyperGroup", typer.main.get_command(app))
    # The parser takes from the list that it is given.
    return Job(name, tuple(arguments), group.commands[name].make_context(name, list(arguments)).params)


def read_runtime_env(working_dir: str, file: str | None) -> dict[str, Any]:
    """Return the job's runtime environment.

    Parameters
    ----------
    working_dir : str
        Folder of the project, which is sent along, or the URI of a zip file of it.
    file : str, optional
        YAML file with more fields: ``env_vars``, ``pip``, ``uv``.

    Raises
    ------
    UsageError
        If the folder is not the project's, or the file holds no mapping.
    """
    working_dir = working_dir if "://" in working_dir else str(Path(working_dir).expanduser())
    if "://" not in working_dir and not (Path(working_dir) / "datus2_ray" / "__main__.py").is_file():
        raise UsageError(f"--working-dir {working_dir} has no datus2_ray/; give the folder of a clone of the project")
    more: Any = {}
    if file is not None:
        try:
            more = yaml.safe_load(Path(file).expanduser().read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise UsageError(f"cannot read --runtime-env {file}: {' '.join(str(error).split())}") from error
    if not isinstance(more, dict):
        raise UsageError(f"--runtime-env {file} must hold fields such as env_vars, not a {type(more).__name__}")
    return {**more, "working_dir": working_dir}


def connect(address: str) -> Any:
    """Return the ``JobSubmissionClient`` of a cluster, given the URL of its dashboard.

    Raises
    ------
    DatusError
        If nothing answers there, or the cluster wants another token.
    """
    # Set rather than left to Ray, whose default changes from version to version: a token is used if there is one.
    variables = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    has_token = bool(variables) or (Path.home() / ".ray" / "auth_token").is_file()
    os.environ.setdefault("RAY_AUTH_MODE", "token" if has_token else "disabled")
    # Ray lets the environment overrule the argument; here the flag counts.
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    for name in ("ray.dashboard.modules", "ray._private.runtime_env"):
        for child in [name, *(known for known in logging.root.manager.loggerDict if known.startswith(f"{name}."))]:
            # Each of them has a level of its own, and logs what is packed and which connections are closed.
            logging.getLogger(child).setLevel(logging.ERROR)
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise DatusError(
            f"the cluster at {address} refuses the token (RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']}); "
            "set RAY_AUTH_MODE=token and put the cluster's token into RAY_AUTH_TOKEN or ~/.ray/auth_token"
        ) from error
    except (ConnectionError, RuntimeError) as error:
        raise DatusError(
            f"no Ray cluster answers at {address}; give the URL of its dashboard with --address, "
            "and forward the port if it is not open (`ray dashboard cluster.yaml`, `kubectl port-forward`)"
        ) from error


def start(client: Any, job: Job, runtime_env: dict[str, Any]) -> tuple[str, bool]:
    """Submit a job, unless it is running.

    Returns
    -------
    str
        Submission id: the job's fingerprint, with a number from the second attempt on.
    bool
        Whether this call submitted it.

    Raises
    ------
    DatusError
        If another job writes to the same place.
    """
    first_id = job.fingerprint()
    attempts = 0
    for info in client.list_jobs():
        attempt = re.fullmatch(rf"{first_id}(?:-(\d+))?", info.submission_id or "")
        if attempt and not info.status.is_terminal():
            return str(info.submission_id), False
        if attempt:
            attempts = max(attempts, int(attempt[1] or 1))
        elif job.out and (info.metadata or {}).get(OUT) == job.out and not info.status.is_terminal():
            raise DatusError(
                f"job {info.submission_id} with other settings writes to {job.out}; wait for it "
                f"(`ray job logs --follow {info.submission_id}`) or end it (`ray job stop {info.submission_id}`)"
            )
    # Not the old id again: Ray keeps the record and log of an ended job under it.
    submission_id = f"{first_id}-{attempts + 1}" if attempts else first_id
    try:
        client.submit_job(
            entrypoint=job.entrypoint, submission_id=submission_id, runtime_env=runtime_env, metadata={OUT: job.out}
        )
    except RuntimeError as error:
        # The same command, given twice at once: the other one was first, and its job is this one's too.
        if f"{submission_id} already exists" in str(error):
            return submission_id, False
        raise
    return submission_id, True


def follow(client: Any, submission_id: str) -> None:
    """Print a job's log until it ends; raise a DatusError if it fails or is stopped, or the cluster is lost."""
    try:
        details = asyncio.run(_follow(client, submission_id))
    except (ConnectionError, RuntimeError) as error:
        raise DatusError(
            f"lost the cluster while following {submission_id}: {' '.join(str(error).split())}; "
            "give the same command again: it follows the job that runs, or goes on where it ended"
        ) from error
    if details.status != "SUCCEEDED":
        code = f" with exit code {details.driver_exit_code}" if details.driver_exit_code else ""
        # From its second line on, Ray's message repeats the log, which is printed above.
        lines = (details.message or "").partition(", last available logs")[0].splitlines()
        raise DatusError(f"job {submission_id} ended as {details.status}{code}{': ' + lines[0] if lines else ''}")


async def _follow(client: Any, submission_id: str) -> Any:
    import aiohttp

    try:
        async for text in client.tail_job_logs(submission_id):
            print(text, end="", flush=True)
    except aiohttp.ClientError as error:
        raise ConnectionError(str(error)) from error
    # The log ends a moment before the job does.
    while not (details := client.get_job_info(submission_id)).status.is_terminal():
        await asyncio.sleep(PAUSE)
    return details

"""What is submitted, under which id, and when it is not: against a job server that keeps its jobs in a list."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from datus2_ray.cli import app
from datus2_ray.commands import submit
from datus2_ray.errors import DatusError, UsageError

ROOT = Path(__file__).parents[2]
LINE = ("run", "s3://b/images", "--out", "s3://b/run", "--clusters", "5")


class Server:
    """A job server: what was submitted, and what it says of it."""

    def __init__(self, log: str = "", ends: JobStatus = JobStatus.SUCCEEDED) -> None:
        self.jobs: list[SimpleNamespace] = []
        self.log = log
        self.ends = ends

    def list_jobs(self) -> list[SimpleNamespace]:
        return list(self.jobs)

    def submit_job(self, *, submission_id: str, **fields: Any) -> str:
        if any(job.submission_id == submission_id for job in self.jobs):
            raise RuntimeError(f"status code 500: Job with submission_id {submission_id} already exists.")
        job = SimpleNamespace(
            submission_id=submission_id, status=JobStatus.RUNNING, message=None, driver_exit_code=None, **fields
        )
        self.jobs.append(job)
        return submission_id

    async def tail_job_logs(self, submission_id: str) -> Any:
        yield self.log

    def get_job_info(self, submission_id: str) -> SimpleNamespace:
        (job,) = (job for job in self.jobs if job.submission_id == submission_id)
        # It ends with the second question.
        now = SimpleNamespace(**vars(job))
        job.status = self.ends
        return now


def job(*line: str) -> submit.Job:
    return submit.read_command(app.app, list(line))


def fingerprint(*more: str) -> str:
    return job(*LINE, *more).fingerprint()


def test_everything_that_was_asked_for_is_in_the_fingerprint(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("discover: {tau: 3}")
    assert fingerprint() == fingerprint("--debug") == fingerprint("--seed", "0") == fingerprint("--preset", "best")
    # However a setting is said, it is the same job; any other value is another one.
    assert fingerprint("--set", "discover.tau=3") == fingerprint("--config", str(settings))
    others = [
        fingerprint(*more)
        for more in ([], ["--seed", "1"], ["--set", "discover.tau=3"], ["--no-refine"], ["--preset", "paper"],
                     ["--limit", "9"], ["--set", "export.format=png"], ["--set", "discover.actors=2"])
    ]  # fmt: skip
    assert len(set(others)) == len(others)
    settings.write_text("discover: {tau: 4}")
    assert fingerprint("--config", str(settings)) not in others
    assert job("pretrain", *LINE[1:4]).fingerprint() != job("run", *LINE[1:4]).fingerprint()
    predicts = [job("predict", "s3://b/run", "s3://b/new", "--out", out).fingerprint() for out in ("s3://b/1", "/m")]
    assert predicts[0] != predicts[1]
    assert predicts[0].startswith("datus2-predict-")


def test_a_switch_that_was_not_given_leaves_the_file_of_settings_alone(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("export: {instances: true}\nrefine: {enabled: false}")
    assert fingerprint("--config", str(settings)) == fingerprint("--set", "export.instances=true", "--no-refine")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("run", "images", "--out", "s3://b/run"), "images is relative to this machine"),
        (("run", "s3://b/images", "--out", "run"), "run is relative to this machine"),
        (("evaluate", "/runs/one", "runs/two"), "runs/two is relative"),
        ((*LINE, "--set", "discover.tua=1"), "unknown setting discover.tua"),
        ((*LINE, "--preset", "papre"), "unknown preset"),
        (("demo",), "'demo' does not run as a job"),
    ],
)
def test_what_would_fail_there_is_refused_here(line: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        job(*line).fingerprint()


def test_the_entrypoint_survives_a_shell() -> None:
    spaced = job("run", "s3://b/my images", "--out", "s3://b/run", "--set", "discover.cnn='x y'")
    assert spaced.entrypoint == (
        "python -m datus2_ray run 's3://b/my images' --out s3://b/run --set 'discover.cnn='\"'\"'x y'\"'\"''"
    )


def test_a_job_is_submitted_once_while_it_runs_and_again_when_it_has_ended() -> None:
    server = Server()
    one = job(*LINE)
    assert submit.start(server, one, {"working_dir": "."}) == (one.fingerprint(), True)
    assert submit.start(server, one, {}) == (one.fingerprint(), False)
    for number, status in ((2, JobStatus.FAILED), (3, JobStatus.STOPPED), (4, JobStatus.SUCCEEDED)):
        server.jobs[-1].status = status
        assert submit.start(server, one, {}) == (f"{one.fingerprint()}-{number}", True)
        assert submit.start(server, one, {}) == (f"{one.fingerprint()}-{number}", False)
    assert [running.entrypoint for running in server.jobs] == [one.entrypoint] * 4
    assert server.jobs[0].runtime_env == {"working_dir": "."}


def test_two_jobs_do_not_write_to_one_folder() -> None:
    server = Server()
    submit.start(server, job(*LINE), {})
    other = job("run", "s3://b/images", "--out", "s3://b/run/", "--seed", "1")
    for second in (other, job("relabel", "s3://b/run", "--clusters", "9")):
        with pytest.raises(DatusError, match="with other settings writes to s3://b/run; wait for it"):
            submit.start(server, second, {})
    server.jobs[0].status = JobStatus.STOPPED
    assert submit.start(server, other, {}) == (other.fingerprint(), True)
    # Scores of several runs are printed, and written nowhere.
    for run in ("s3://b/1", "s3://b/2"):
        assert submit.start(server, job("evaluate", run), {})[1]


def test_who_comes_second_in_a_race_follows_the_job_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    one = job(*LINE)
    submit.start(server, one, {})
    monkeypatch.setattr(server, "list_jobs", lambda: [])
    assert submit.start(server, one, {}) == (one.fingerprint(), False)


def test_a_refused_submission_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> str:
        raise RuntimeError("status code 500: no room")

    server = Server()
    monkeypatch.setattr(server, "submit_job", refuse)
    with pytest.raises(RuntimeError, match="no room"):
        submit.start(server, job(*LINE), {})


def test_the_log_is_printed_and_a_failure_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(submit, "PAUSE", 0.0)
    server = Server(log="ingest 3 images\n")
    name, _ = submit.start(server, job(*LINE), {})
    submit.follow(server, name)
    assert capsys.readouterr().out == "ingest 3 images\n"

    server = Server(log="error: no such bucket\n", ends=JobStatus.FAILED)
    name, _ = submit.start(server, job(*LINE), {})
    server.jobs[0].driver_exit_code = 1
    server.jobs[0].message = "Job entrypoint command failed with exit code 1, last available logs (truncated):\na\nb"
    with pytest.raises(DatusError) as failed:
        submit.follow(server, name)
    assert str(failed.value) == (
        f"job {name} ended as FAILED with exit code 1: Job entrypoint command failed with exit code 1"
    )


def test_a_lost_cluster_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    name, _ = submit.start(server, job(*LINE), {})

    def gone(_: str) -> None:
        raise ConnectionError("Failed to connect")

    monkeypatch.setattr(server, "get_job_info", gone)
    with pytest.raises(DatusError, match=rf"lost the cluster while following {name}: .*give the same command again"):
        submit.follow(server, name)


def test_the_environment_is_the_folder_and_what_a_file_adds(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text("env_vars: {AWS_REGION: eu-west-1}")
    expected = {"env_vars": {"AWS_REGION": "eu-west-1"}, "working_dir": str(ROOT)}
    assert submit.read_runtime_env(str(ROOT), str(file)) == expected
    assert submit.read_runtime_env("s3://b/project.zip", None) == {"working_dir": "s3://b/project.zip"}
    with pytest.raises(UsageError, match="has no datus2_ray/"):
        submit.read_runtime_env(str(tmp_path), None)
    for text in ("[1]", "a: ["):
        file.write_text(text)
        with pytest.raises(UsageError, match="--runtime-env"):
            submit.read_runtime_env(str(ROOT), str(file))


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # The address that was typed counts, not the environment's; the submission itself sets the latter.
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:2")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["datus2", "submit", "--address", "http://127.0.0.1:1", *LINE])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 1
    errors = capsys.readouterr().err.splitlines()
    assert [line for line in errors if "no Ray cluster answers at http://127.0.0.1:1;" in line] == errors

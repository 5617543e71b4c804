from __future__ import annotations

from pathlib import Path

from datus2_ray.store.events import EventLog


def test_events_are_appended_by_one_run_after_the_other(tmp_path: Path) -> None:
    uri = str(tmp_path / "events.jsonl")
    EventLog(uri).write("begin", stage="a")
    EventLog(uri).write("end", stage="a", seconds=1.5)
    assert [(event["event"], event["stage"]) for event in EventLog(uri).read()] == [("begin", "a"), ("end", "a")]


def test_an_opened_event_is_written_with_the_next_one_or_never(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "events.jsonl"))
    log.open("run", seed=0)
    assert not log.grew
    assert not (tmp_path / "events.jsonl").exists()
    log.write("begin", stage="a")
    log.write("end", stage="a", seconds=1.0)
    assert log.grew
    assert [event["event"] for event in EventLog(str(tmp_path / "events.jsonl")).read()] == ["run", "begin", "end"]


def test_seconds_are_those_of_a_result_and_of_the_rows_that_an_attempt_did(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "events.jsonl"))
    log.write("stop", stage="a", fingerprint="f", rows_done=10, seconds=4.0)
    log.write("end", stage="a", fingerprint="f", rows_done=30, seconds=6.0)
    log.write("end", stage="a", fingerprint="g", rows_done=1, seconds=100.0)
    assert log.stage_seconds("f") == 10.0
    assert log.seconds_per_row("f") == 0.25
    assert (log.stage_seconds("h"), log.seconds_per_row("h")) == (None, None)

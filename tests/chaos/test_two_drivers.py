"""Two drivers on one folder, or tasks of a killed one that end late: no table holds rows of two settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pytest

from datus2_ray.commands.run import run
from datus2_ray.config.load import RunConfig
from datus2_ray.errors import UsageError
from datus2_ray.store import parquet
from datus2_ray.store.run_folder import RunFolder
from tests.chaos.conftest import table_hashes
from tests.in_process import commands_without_ray

#: Called before a table is written, with its URI and the table.
Before = Callable[[str, pa.Table], None]


@pytest.fixture
def before_tables(monkeypatch: pytest.MonkeyPatch) -> Callable[[Before], None]:
    """Return a function that sets what is called before each table is written, once for each time it is set."""
    commands_without_ray(monkeypatch)
    called: list[Before] = []
    original = parquet.write_table

    def write_table(uri: str, table: pa.Table, row_group_rows: int | None = None) -> None:
        if called:
            called[-1](uri, table)
        original(uri, table, row_group_rows)

    monkeypatch.setattr(parquet, "write_table", write_table)

    def set_called(before: Before) -> None:
        called[:] = [before]

    return set_called


@pytest.fixture
def config(scenes: Path, tmp_path: Path, small_run: Callable[..., RunConfig]) -> Callable[..., RunConfig]:
    """Return a function that makes the settings of a driver; all share a folder, of which they are told its name."""

    def config(*more: str, out: str = "run") -> RunConfig:
        return small_run(scenes, tmp_path / out, "discover.descriptor=tokens", "limit=6", *more)

    return config


def at(stage: str, call: Callable[[], object]) -> Before:
    """Return what calls a function before the second part of a stage is written, once."""
    done: list[str] = []

    def before(uri: str, table: pa.Table) -> None:
        if f"/{stage}/" in uri and uri.endswith("part-000001.parquet") and not done:
            done.append(uri)
            call()

    return before


def test_the_second_driver_is_refused_and_the_first_one_undisturbed(
    before_tables: Callable[[Before], None], config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    refused: list[str] = []

    def second() -> None:
        with pytest.raises(UsageError) as caught:
            run(config("discover.tau=1"))
        refused.append(str(caught.value))

    before_tables(at("discover", second))
    run(config())
    assert len(refused) == 1
    assert refused[0].startswith(f"{tmp_path / 'run'} is in use: `datus2 run` on ")
    run(config(out="alone"))
    assert table_hashes(str(tmp_path / "run")) == table_hashes(str(tmp_path / "alone"))


@pytest.mark.parametrize("stage", ["discover", "label", "evaluate"])
def test_two_drivers_that_know_nothing_of_each_other_mix_no_table(
    stage: str,
    before_tables: Callable[[Before], None],
    config: Callable[..., RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("datus2_ray.engine.run.hold", lambda uri, command: nullcontext())
    before_tables(at(stage, lambda: run(config("discover.tau=1"))))
    run(config())
    for name, more in (("one", ()), ("two", ("discover.tau=1",))):
        run(config(*more, out=name))
    one, two, both = (table_hashes(str(tmp_path / name)) for name in ("one", "two", "run"))
    assert one != two
    assert both == {**one, **two}
    # The last to end is current, with all of its stages.
    assert RunFolder(str(tmp_path / "run")).current() == RunFolder(str(tmp_path / "one")).current()


def test_a_part_that_a_killed_run_writes_late_changes_nothing_that_is_current(
    before_tables: Callable[[Before], None], config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    late: list[tuple[str, pa.Table]] = []

    def kill(uri: str, table: pa.Table) -> None:
        if "/discover/" in uri and uri.endswith("part-000001.parquet") and not late:
            late.append((uri, table))
            raise KeyboardInterrupt

    before_tables(kill)
    with pytest.raises(KeyboardInterrupt):
        run(config("discover.tau=1"))
    summary = run(config())
    run(config(out="alone"))
    alone = table_hashes(str(tmp_path / "alone"))

    written: list[str] = []
    before_tables(lambda uri, table: written.append(uri))
    (uri, table), before = late[0], table_hashes(str(tmp_path / "run"))
    parquet.write_table(uri, table)
    place = str(Path(uri).relative_to(tmp_path / "run"))
    after = table_hashes(str(tmp_path / "run"))
    assert place not in before
    assert {name: after[name] for name in after if name != place} == before
    assert {name: after[name] for name in alone} == alone
    written.clear()
    assert run(config()) == summary
    assert written == []

    # Back at the killed settings, the late part counts, for it is whole.
    run(config("discover.tau=1"))
    assert uri not in written
    run(config("discover.tau=1", out="second"))
    second = table_hashes(str(tmp_path / "second"))
    assert {name: table_hashes(str(tmp_path / "run"))[name] for name in second} == second

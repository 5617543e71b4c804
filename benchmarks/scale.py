"""More and more images through every step, on one machine: time grows linearly, memory does not, kills lose nothing.

    python benchmarks/scale.py FOLDER [--counts 1000 10000 100000] [--out FOLDER] [--json FILE]

The images below FOLDER are written to Parquet shards as often as the largest count takes, each with a change of its
own. Every count is a run of `best`, with EM, over the first images, and an export of its masks as PNG, in processes of
their own. The backbone sees 8 x 8 patches, so that reading, moving and writing take as large a share as possible. Ray's
object store has 200 MB. The driver of the largest count is killed twice, in `discover` and in `predict`, and started
again: its seconds are those of all attempts.

The table has the seconds of each stage, the maximum resident set of the driver and of its open files in `discover` and
`predict`, the maximum bytes in the object store, and the bytes of the run folder without masks that were exported. The
last line has R² of a line through all seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from changed_images import write_changed

from datus2_ray.store.events import EventLog

#: Bytes of Ray's object store.
STORE = 200_000_000

#: Stages in which the driver of the largest run is killed, when a third of their parts is there.
KILLED = ("discover", "predict")

STAGES = ("ingest", "survey", "discover", "cluster", "label", "em", "predict")


def watch_store(file: Path, end: threading.Event) -> None:
    """Write the maximum of bytes in the object store to a file, every half second."""
    import ray
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    most = 0
    while not end.wait(0.5):
        most = max(most, get_memory_info_reply(state).store_stats.object_store_bytes_used)
        file.write_text(str(most))


def one(source: str, out: str, count: int) -> None:
    """Run over the first `count` images, as one attempt; the highest bytes of the object store go to a file beside."""
    import ray

    from datus2_ray import run
    from datus2_ray.config import load

    ray.init("local", object_store_memory=STORE, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    end = threading.Event()
    threading.Thread(target=watch_store, args=(Path(f"{out}.store"), end), daemon=True).start()
    flags = {"source": source, "out": out, "clusters": 20, "limit": count, "max_error_rate": 0.01}
    run(load(flags, assignments=("discover.grid=8",)))
    end.set()  # before Ray ends, which the watch would take for a failure


class Driver:
    """A driver that is watched: its highest resident set, and its open files by stage."""

    def __init__(self, source: str, out: Path, count: int) -> None:
        command = [sys.executable, __file__, source, "--one", str(out), str(count)]
        self.process = subprocess.Popen(command, env={**os.environ, "RAY_AUTH_MODE": "disabled"})
        self.rss, self.files = 0, dict[str, int]()

    def watch(self, out: Path, kill_in: str | None) -> bool:
        """Watch until it ends, or kill it in a stage; return whether it ended."""
        process = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            time.sleep(1)
            try:
                self.rss, files = max(self.rss, process.memory_info().rss), process.num_fds()
            except psutil.Error:
                continue
            stage = next((stage for stage in reversed(STAGES) if (out / stage).exists()), None)
            if stage:
                self.files[stage] = max(self.files.get(stage, 0), files)
            if kill_in is not None and stage == kill_in and _share(out, stage) > 1 / 3:
                # With its Ray, whose processes end when the driver is gone.
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()
                return False
        if self.process.returncode:
            raise SystemExit("the run failed")
        return True


def _share(out: Path, stage: str) -> float:
    done, all_parts = (sum(1 for _ in (out / name).glob("*/part-*.parquet")) for name in (stage, "ingest"))
    return done / max(1, all_parts)


def measure(source: str, out: Path, count: int, kill_in: tuple[str, ...]) -> dict[str, Any]:
    """Run and export `count` images, killed in some stages, and return what was measured."""
    out.parent.mkdir(parents=True, exist_ok=True)
    peaks, files, store, killed = [], dict[str, int](), 0, dict[str, float]()
    for stage in (*kill_in, None):
        driver = Driver(source, out, count)
        ended = driver.watch(out, stage)
        assert ended == (stage is None), f"the driver ended before it could be killed in {stage}"
        peaks.append(driver.rss)
        files |= driver.files
        if stage:
            killed[stage] = time.time()
        store = max(store, int(Path(f"{out}.store").read_text()))
    summary = json.loads((out / "summary.json").read_text())
    assert summary["images"] + summary["quarantined"] == count, summary
    events = EventLog(str(out / "events.jsonl"))
    current = json.loads((out / "run.json").read_text())["stages"]
    seconds = {stage: events.stage_seconds(current[stage]) or 0.0 for stage in STAGES if stage in current}
    for stage, end in killed.items():
        # What is killed does not note its end.
        seconds[stage] += end - max(
            event["time"] for event in events.read()
            if event["event"] == "begin" and event["stage"] == stage and event["time"] < end
        )  # fmt: skip
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    begun = time.monotonic()
    export = [sys.executable, "-m", "datus2_ray", "export", str(out), "--format", "png"]
    subprocess.run(export, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "RAY_AUTH_MODE": "disabled"})
    seconds["export"] = time.monotonic() - begun
    written = sum(1 for _ in (out / "export").rglob("*.png"))
    assert written >= summary["images"], f"{written} masks of {summary['images']} images"
    found = {"images": summary["images"], "seconds": seconds, "driver": peaks, "files": files}
    return {**found, "store": store, "bytes": size}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(str(arguments.folder), arguments.one[0], int(arguments.one[1]))
        return
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch)
        write_changed(arguments.folder, max(arguments.counts), out / "shards")
        for count in arguments.counts:
            kill_in = KILLED if count == max(arguments.counts) else ()
            row = measure(str(out / "shards"), out / str(count), count, kill_in)
            found.append(row)
            print(json.dumps(row), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1))
    stages = list(found[0]["seconds"])
    print(f"| images | {' | '.join(f'{stage}, s' for stage in stages)} | all, s | driver, MB | store, MB | "
          "open files | run folder, KB per image |")  # fmt: skip
    print("|---" * (len(stages) + 6) + "|")
    for row in found:
        cells = [f"{row['seconds'][stage]:.1f}" for stage in stages]
        cells += [f"{sum(row['seconds'].values()):.1f}", f"{max(row['driver']) / 1e6:.0f}", f"{row['store'] / 1e6:.0f}",
                  f"{row['files'].get('discover', 0)}, {row['files'].get('predict', 0)}",
                  f"{row['bytes'] / 1e3 / row['images']:.1f}"]  # fmt: skip
        print(f"| {row['images']:,} | {' | '.join(cells)} |")
    x = np.array([row["images"] for row in found], float)
    y = np.array([sum(row["seconds"].values()) for row in found])
    if len(found) > 2:
        slope, start = np.polyfit(x, y, 1)
        rest = ((y - start - slope * x) ** 2).sum() / ((y - y.mean()) ** 2).sum()
        print(f"{1000 * slope:.1f} ms per image and {start:.0f} s; R² {1 - rest:.4f}")


if __name__ == "__main__":
    main()

"""A run of 1,000,000 images on S3 that was killed half way: seconds of `status`, and of a resume to its first part.

    python benchmarks/resume.py [--parts 10000] [--rows 100] [--delay 0.02]

The source is shards of tiny images, the store a server on the loopback device with `delay` seconds added to every
request. `ingest` and `survey` are finished and half of the parts of `discover` are there, with the note that a killed
driver leaves: their tables are copies of those that a real run of one part wrote.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

PORT = 5055
BUCKET = "resume"
ASSIGNMENTS = ("discover.grid=8", "discover.tau=0")
SETTINGS = ("--clusters", "2", "--no-refine", *(word for setting in ASSIGNMENTS for word in ("--set", setting)))

#: What the program said last.
LOG = Path(tempfile.gettempdir()) / "datus2-resume.log"

#: Row groups of a shard, each a part.
GROUPS = 100


def shard(groups: int, rows: int) -> pa.BufferOutputStream:
    """Write a shard of tiny images, `rows` a row group; equal images are stored once."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8)).save(out, "PNG")
    sink = pa.BufferOutputStream()
    schema = pa.schema({"image": pa.binary()})
    with pq.ParquetWriter(sink, schema) as writer:
        for _ in range(groups):
            writer.write_table(pa.table({"image": [out.getvalue()] * rows}, schema=schema), row_group_size=rows)
    return sink


def datus2(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the program."""
    command = [sys.executable, "-m", "datus2_ray", *arguments]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": LOG.open("w")}
    return subprocess.Popen(command, text=True, env={**os.environ, **environment}, **quiet)


def titles(driver: psutil.Process) -> Iterator[str]:
    """Yield the titles of the driver's processes."""
    for child in driver.children(recursive=True):
        with suppress(psutil.Error):
            yield " ".join(child.cmdline())


def lay_out(parts: int, rows: int, template: Path) -> int:
    """Put source and run folder of `parts` parts into the store, from the result of one part; return the parts done."""
    from datus2_ray.config import load
    from datus2_ray.config.load import resolve_paths
    from datus2_ray.engine.device import choose_identity
    from datus2_ray.engine.machines import Machines
    from datus2_ray.engine.run import open_run
    from datus2_ray.sources.list_source import list_source
    from datus2_ray.stages import RUN
    from datus2_ray.store.commit import Commit
    from datus2_ray.store.counted import note_counts
    from datus2_ray.store.run_folder import RunFolder

    store, _ = pa.fs.FileSystem.from_uri("s3://" + BUCKET)
    shards = shard(GROUPS, rows).getvalue()

    def put(path: str, content: Any) -> None:
        with store.open_output_stream(path) as stream:
            stream.write(content)

    flags = {"source": f"s3://{BUCKET}/images", "out": f"s3://{BUCKET}/run", "clusters": 2, "no_refine": True}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: put(f"{BUCKET}/images/{i:05d}.parquet", shards), range(parts // GROUPS)))
        config = resolve_paths(load(flags, assignments=ASSIGNMENTS))
        listing = list_source(config, True)
        stages = {stage.name: stage for stage in RUN}
        names = sorted(listing.counts)
        made = RunFolder(str(template))
        with open_run(config, "run", listing, Machines.of_this_machine()) as run:
            for name, count in (("ingest", len(names)), ("survey", len(names)), ("discover", len(names) // 2)):
                stage = stages[name]
                identity = choose_identity(run, stage)
                run.folder.begin(name, identity.fingerprint, identity.decides, identity.inputs)
                commit = made.require(stage.facts)
                content = Path(commit.path(*commit.parts)).read_bytes()
                uri = run.folder.result(name, identity.fingerprint)
                list(threads.map(lambda part, to=uri, what=content: put(f"{to.removeprefix('s3://')}/{part}", what),
                                 names[:count]))  # fmt: skip
                counts = dict.fromkeys(names[:count], rows)
                if count == len(names):
                    total = rows * count
                    done = Commit(uri, identity.fingerprint, total, total, 0, counts, commit.facts)
                    run.folder.commit(done)
                    run = run.with_commit(done)
                    run.folder.set_current({**run.folder.current(), name: identity.fingerprint})
                else:
                    # A driver notes every ten seconds: the last parts are not in the note.
                    noted = dict(list(counts.items())[: count - 64])
                    note_counts(uri, noted, dict.fromkeys(noted, 0))
                    run.folder.set_current(run.folder.current(), begun=(name, identity.fingerprint))
    return len(names) // 2


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--delay", type=float, default=0.02)
    arguments = parser.parse_args()
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{PORT}", AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret",
        AWS_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true", RAY_AUTH_MODE="disabled",
    )  # fmt: skip
    from tests.s3 import put_before, serve_s3

    with (
        tempfile.TemporaryDirectory() as scratch,
        serve_s3(PORT) as server,
        put_before(server, delay=arguments.delay) as slow,
    ):
        (Path(scratch) / "images").mkdir()
        Path(scratch, "images", "00000.parquet").write_bytes(shard(1, arguments.rows).getvalue())
        assert datus2("run", f"{scratch}/images", "--out", f"{scratch}/run", *SETTINGS).wait() == 0
        pa.fs.S3FileSystem(endpoint_override=server, allow_bucket_creation=True).create_dir(BUCKET)
        done = lay_out(arguments.parts, arguments.rows, Path(scratch, "run"))
        print(f"{arguments.parts:,} parts of {arguments.rows} images, {done:,} of `discover` done; "
              f"{arguments.delay * 1000:g} ms added to every request")  # fmt: skip
        run = f"s3://{BUCKET}/run"
        started = time.monotonic()
        assert datus2("status", run, AWS_ENDPOINT_URL=slow).wait() == 0
        print(f"| status, s | {time.monotonic() - started:.1f} |", flush=True)
        store, _ = pa.fs.FileSystem.from_uri(run)
        result = pa.fs.FileSelector(f"{BUCKET}/run/discover", recursive=True)
        before = len(store.get_file_info(result))
        started = time.monotonic()
        resumed = datus2("run", f"s3://{BUCKET}/images", "--out", run, *SETTINGS, AWS_ENDPOINT_URL=slow)
        driver, peak, began = psutil.Process(resumed.pid), 0, 0.0
        while not began or len(store.get_file_info(result)) <= before:
            assert resumed.poll() is None, LOG.read_text()
            peak = max(peak, driver.memory_info().rss)
            # A listing keeps the server busy: parts are looked for only once there can be new ones, and rarely.
            if not began and any("(ReadImages)" in title for title in titles(driver)):
                began = time.monotonic() - started
            time.sleep(0.25 if not began else 2.0)
        print(f"| resume, first task, s | {began:.1f} |")
        print(f"| resume, first part seen, s | {time.monotonic() - started:.1f} |")
        print(f"| driver's memory by then, MB | {peak / 1e6:.0f} |", flush=True)
        resumed.send_signal(signal.SIGINT)
        resumed.wait()
        results = {Path(entry.path).parent for entry in store.get_file_info(result) if "/part-" in entry.path}
        assert len(results) == 1, f"the run did not resume: it has the results {results}"


if __name__ == "__main__":
    main()

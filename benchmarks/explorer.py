"""The explorer over 2,000,000 segments of 100,000 images: seconds until the first page, of the slider, MB of the server.

    python benchmarks/explorer.py [--images 100000] [--segments 20] [--keep FOLDER]

The run is made (small images, random clusters), its tables are those of a real one. The server is a process of its own;
the pages are drawn by headless Chromium, which chromedriver starts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.explore.made import MadeRun

FINE, K = 300, 27


def serve(run: Path) -> tuple[subprocess.Popen[str], str, float]:
    """Start the server of a run, and return it, its address and the seconds until it answers."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "datus2_ray", "explore", str(run), "--port", "0", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().split()[1]
    return server, address, time.perf_counter() - started


def browser() -> Any:
    """Open headless Chromium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def seconds(action: Callable[[], Any], done: Callable[[], Any]) -> float:
    """Return the seconds from an action until something is true."""
    started = time.perf_counter()
    action()
    while not done():
        time.sleep(0.002)
    return time.perf_counter() - started


def measure(run: Path) -> dict[str, float]:
    """Return all figures of one run."""
    found: dict[str, float] = {}
    server, _, found["prepare and start, s"] = serve(run)
    server.terminate()
    server.wait()
    server, address, found["start again, s"] = serve(run)
    process, page = psutil.Process(server.pid), browser()
    try:
        script = page.execute_script
        found["first page with all cards, s"] = seconds(lambda: page.get(address), lambda: script("return document.body.dataset.ready"))
        visible = "return [...document.querySelectorAll('.card')].slice(0, 2).every(c => { const i = c.querySelectorAll('.crops img'); return i.length && [...i].every(one => one.complete && one.naturalWidth) })"
        found["and the pictures in the window, s"] = found["first page with all cards, s"] + seconds(lambda: None, lambda: script(visible))
        slide = """
            const done = arguments[1], k = document.getElementById('k'), begun = performance.now();
            k.value = arguments[0]; k.dispatchEvent(new Event('input'));
            const look = () => document.querySelectorAll('.card').length === Math.min(240, Number(arguments[0]))
                ? requestAnimationFrame(() => setTimeout(() => done((performance.now() - begun) / 1000))) : setTimeout(look, 1);
            look();"""
        for k in (60, 120, 300, 27):
            found[f"slider to {k} clusters, s"] = page.execute_async_script(slide, k)
        ask = "const done = arguments[1], begun = performance.now(); fetch(arguments[0]).then(answer => answer.arrayBuffer()).then(() => done((performance.now() - begun) / 1000))"
        for title, path in (
            ("random segments of all, s", f"/api/samples/{2 * FINE - 2}/random?count=36"),
            ("borderline segments of a large cluster, s", f"/api/samples/{2 * FINE - 3}/borderline?count=36"),
            ("most uncertain images, s", "/api/images?order=uncertain"),
            ("images of a cluster, s", f"/api/images?node={2 * FINE - 5}"),
            ("find images by name, s", "/api/images?text=99999"),
        ):
            found[title] = page.execute_async_script(ask, path)
        name = """
            const done = arguments[0], begun = performance.now(), field = document.querySelector('.card .name');
            field.focus(); field.value = 'road'; field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));
            const look = () => document.querySelector('.card').classList.contains('done') ? done((performance.now() - begun) / 1000) : setTimeout(look, 1);
            look();"""
        found["name a cluster, saved and shown, s"] = page.execute_async_script(name)
        found["images of a class, s"] = page.execute_async_script(ask, "/api/images?class=0")
        # Leaf through many pictures, as in an hour of work.
        for node in range(0, FINE, 2):
            for one in json.loads(page.execute_async_script("const done = arguments[1]; fetch(arguments[0]).then(a => a.text()).then(done)", f"/api/samples/{node}/random?count=12")):
                picture = f"{script('return performance.getEntriesByType(`resource`).map(e => e.name).find(n => n.includes(`/pictures/`))').rsplit('/', 4)[0]}/crop/{one['image']}/{one['segment']}/224"
                page.execute_async_script(ask, picture)
        found["server's memory, MB"] = process.memory_info().rss / 2**20
        found["server's peak memory, MB"] = int(next(line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    finally:
        page.quit()
        server.terminate()
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--segments", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="Folder for the run, used again where it is there.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch) / "run"
        if not folder.exists():
            MadeRun(folder, arguments.images, arguments.segments, FINE, K, per_part=16, one_picture=True).write()
        shutil.rmtree(folder / "explore", ignore_errors=True)
        for name in ("names.yaml", "names.jsonl"):
            (folder / name).unlink(missing_ok=True)
        print(f"{arguments.images:,} images, {arguments.images * arguments.segments:,} segments, {FINE} fine clusters, {os.cpu_count()} CPUs\n")
        print("| figure | value |\n|--------|-------|")
        for title, value in measure(folder).items():
            print(f"| {title} | {value:.0f} |" if "MB" in title else f"| {title} | {value:.3f} |")


if __name__ == "__main__":
    main()

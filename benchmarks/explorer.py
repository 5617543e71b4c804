"""The explorer over 2,000,000 segments of 100,000 images: seconds of the page, memory of the server.

    python benchmarks/explorer.py [--images 100000] [--segments 20] [--keep FOLDER]

The run is made (small images, random clusters), its tables are those of a real one. The server is a process of its own;
the pages are drawn by headless Chromium, which chromedriver starts.
"""

from __future__ import annotations

import argparse
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
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1280,900",
    ):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def seconds(action: Callable[[], Any], done: Callable[[], Any]) -> float:
    """Return the seconds from an action until something is true."""
    started = time.perf_counter()
    action()
    while not done():
        time.sleep(0.002)
    return time.perf_counter() - started


#: Whether the pictures of the first two cards are there.
SEEN = """
return [...document.querySelectorAll('.card')].slice(0, 2).every(card => {
    const pictures = [...card.querySelectorAll('.crops img')];
    return pictures.length && pictures.every(one => one.complete && one.naturalWidth);
})"""

#: Move the slider to K clusters; seconds until its cards fill the window, and until all of them are drawn.
SLIDE = """
const [k, done] = arguments, slider = document.getElementById('k'), begun = performance.now(), times = [];
slider.value = k;
slider.dispatchEvent(new Event('input'));
const look = () => {
    const cards = document.querySelectorAll('.card').length, now = (performance.now() - begun) / 1000;
    if (!times.length && document.getElementById('k-number').value == k && cards >= Math.min(k, 24)) times.push(now);
    if (cards === Math.min(240, k)) done([times[0], now]);
    else requestAnimationFrame(look);
};
requestAnimationFrame(() => requestAnimationFrame(look));"""

#: Fetch something; seconds until the last byte.
ASK = """
const [path, done] = arguments, begun = performance.now();
fetch(path).then(answer => answer.arrayBuffer()).then(() => done((performance.now() - begun) / 1000));"""

#: Name the first cluster; seconds until it is saved and shown.
NAME = """
const [done] = arguments, begun = performance.now(), field = document.querySelector('.card .name');
field.focus();
field.value = 'road';
field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));
const look = () => document.querySelector('.card').classList.contains('done')
    ? done((performance.now() - begun) / 1000) : setTimeout(look, 1);
look();"""

#: Fetch crops of random segments of a node of the tree.
LEAF_THROUGH = """
const [node, done] = arguments;
const { pictures } = await (await fetch('/api/run')).json();
const found = await (await fetch(`/api/samples/${node}/random?count=12`)).json();
for (const one of found) await (await fetch(`${pictures}/crop/${one.image}/${one.segment}/224`)).arrayBuffer();
done();"""

QUESTIONS = (
    ("random segments of all, s", f"/api/samples/{2 * FINE - 2}/random?count=36"),
    ("borderline segments of a large cluster, s", f"/api/samples/{2 * FINE - 3}/borderline?count=36"),
    ("most uncertain images, s", "/api/images?order=uncertain"),
    ("images of a cluster, s", f"/api/images?node={2 * FINE - 5}"),
    ("images by name, s", "/api/images?text=99999"),
)


def measure(run: Path) -> dict[str, float]:
    """Return all figures of one run."""
    found: dict[str, float] = {}
    server, _, found["prepare and start, s"] = serve(run)
    server.terminate()
    server.wait()
    server, address, found["start again, s"] = serve(run)
    process, page = psutil.Process(server.pid), browser()
    page.set_script_timeout(120)
    try:
        ready = seconds(lambda: page.get(address), lambda: page.execute_script("return document.body.dataset.ready"))
        pictures = seconds(lambda: None, lambda: page.execute_script(SEEN))
        found |= {"first page, all cards, s": ready, "and the pictures in the window, s": ready + pictures}
        for k in (60, 120, 300, K):
            shown, drawn = page.execute_async_script(SLIDE, k)
            found |= {f"slider to {k} clusters, s": shown, f"and all of its {min(k, 240)} cards, s": drawn}
        for title, path in QUESTIONS:
            found[title] = page.execute_async_script(ASK, path)
        found["name a cluster, s"] = page.execute_async_script(NAME)
        found["images of a class, s"] = page.execute_async_script(ASK, "/api/images?class=0")
        # 3,600 pictures of as many images, more than the caches hold.
        for node in range(FINE):
            page.execute_async_script(f"(async () => {{ {LEAF_THROUGH} }})()", node)
        found["server's memory, MB"] = process.memory_info().rss / 2**20
        found["server's peak memory, MB"] = peak(server.pid)
    finally:
        page.quit()
        server.terminate()
    return found


def peak(pid: int) -> float:
    """Return the maximum resident memory of a process in MB, by Linux."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


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
            MadeRun(folder, arguments.images, arguments.segments, FINE, K, per_part=64, one_picture=True).write()
        shutil.rmtree(folder / "explore", ignore_errors=True)
        for name in ("names.yaml", "names.jsonl"):
            (folder / name).unlink(missing_ok=True)
        segments = arguments.images * arguments.segments
        print(f"{arguments.images:,} images, {segments:,} segments, {FINE} fine clusters, {os.cpu_count()} CPUs\n")
        print("| figure | value |\n|--------|-------|")
        for title, value in measure(folder).items():
            print(f"| {title} | {value:.0f} |" if "MB" in title else f"| {title} | {value:.3f} |")


if __name__ == "__main__":
    main()

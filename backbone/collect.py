"""Put the images that the packaged backbone is trained on into one folder; masks stay behind.

    python backbone/collect.py DATA FOLDER

DATA holds `suim`, `camvid` and `unlabelled` (ImageNet samples, Caltech101, BSDS500). Files are linked, or copied where
the file system cannot link.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

#: Where the images of a set lie below DATA, and how their ids begin.
SETS = {
    "suim": "suim/train_val/images",
    "camvid": "camvid/train/images",
    "imagenet": "unlabelled/imagenet_samples",
    "caltech101": "unlabelled/caltech101",
    "bsds500": "unlabelled/bsds500",
}


def collect(data: Path, folder: Path) -> int:
    """Link or copy the images; return their number."""
    count = 0
    for name, below in SETS.items():
        files = sorted(path for path in (data / below).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not files:
            raise SystemExit(f"no images in {data / below}; give the folder that holds {', '.join(SETS.values())}")
        for file in files:
            target = folder / name / file.relative_to(data / below)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                try:
                    os.link(file, target)
                except OSError:
                    shutil.copyfile(file, target)
        count += len(files)
    return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(f"{collect(arguments.data, arguments.folder)} images in {arguments.folder}")

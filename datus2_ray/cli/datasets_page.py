"""The page of all data sets, made from their declarations: ``datus2 datasets > docs/datasets.md``."""

from __future__ import annotations

from datus2_ray.sources.layouts import known
from datus2_ray.sources.layouts.layout import DatasetLayout

INTRODUCTION = """# Data sets

```bash
datus2 run FOLDER --out RUN --dataset cityscapes27 --split val    # classes, names and colours of the data set
datus2 datasets cityscapes27                                      # one of them with its classes
```

If a folder given without `--dataset` looks like one of these, the terminal names the data set. The folders of a set
may lie in a folder of SOURCE. Nothing is downloaded: get the files where the table says, and mind their licence.
"""


def datasets_page() -> str:
    """Return a Markdown page of every data set: its classes and splits, its home and licence, and its folders."""
    lines = [
        INTRODUCTION,
        "| name | data set | classes | splits | where to get it | licence |",
        "|---|---|---|---|---|---|",
    ]
    for layout in known.DATASETS.values():
        classes = "found in it" if layout.class_names is None else str(len(layout.class_names))
        splits = ", ".join(f"`{split}`" for split in layout.splits) or "none"
        home = f"<{layout.about.home}>" if layout.about.home else "your own"
        licence = layout.about.licence or "yours"
        lines.append(f"| `{layout.name}` | {layout.title} | {classes} | {splits} | {home} | {licence} |")
    lines += ["", "## What the folder must look like", "", "| name | one of these | what to know |", "|---|---|---|"]
    for names, layout in _by_folders().items():
        forms = "<br>".join(f"`{form}`" if "/" in form and "*" in form else form for form in layout.folders)
        lines.append(f"| {names} | {forms} | {layout.about.note} |")
    return "\n".join([*lines, ""])


def describe_dataset(name: str) -> str:
    """Return lines on one data set, with its classes; UsageError if the name is unknown."""
    layout = known.find(name)
    classes = "found in the masks or annotations" if layout.class_names is None else ", ".join(layout.class_names)
    about = {
        "splits": ", ".join(layout.splits) or "none",
        "classes": classes,
        "from": layout.about.home,
        "licence": layout.about.licence,
        "folders": f"\n{'':10}".join(layout.folders),
        "note": layout.about.note.replace("`", ""),
    }
    return "\n".join([f"{layout.name}: {layout.title}", *(f"{key:<10}{text}" for key, text in about.items() if text)])


def _by_folders() -> dict[str, DatasetLayout]:
    """Return one layout for those that read the same folders, by all their names."""
    names: dict[tuple[str, ...], list[DatasetLayout]] = {}
    for layout in known.DATASETS.values():
        names.setdefault((*layout.folders, layout.about.note), []).append(layout)
    return {", ".join(f"`{layout.name}`" for layout in same): same[0] for same in names.values()}

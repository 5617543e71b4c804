"""The tables of stages in the docs, from the declarations: ``python -m datus2_ray.cli.stages_page FILE...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datus2_ray.engine.stage import Stage
from datus2_ray.stages import COMMANDS

BEGIN, END = "<!-- stages:begin -->", "<!-- stages:end -->"


def all_stages() -> list[Stage[Any]]:
    """Return every stage of every command once, those of a run first."""
    return list({stage.name: stage for stages in COMMANDS.values() for stage in stages}.values())


def stages_table(stages: Sequence[Stage[Any]]) -> str:
    """Return a Markdown table of stages: what each does, reads and writes."""
    rows = ["| stage and folder | what it does | reads | writes |", "|---|---|---|---|"]
    for stage in stages:
        names = [facts.stage for facts in stage.reads]
        names += [" or ".join(facts.stage for facts in stage.reads_either)] if stage.reads_either else []
        reads = ", ".join([*names, *(f"({facts.stage})" for facts in stage.may_read)])
        writes = "; ".join(f"`{file}`: {what}" for file, what in stage.writes.items())
        reads = reads or "the source"
        rows.append(f"| `{stage.name}/` | {stage.title} | {reads} | {writes} |")
    return "\n".join(rows)


def with_table(page: str, stages: Sequence[Stage[Any]]) -> str:
    """Return a page with the table between its markers made anew; unchanged where it has no markers."""
    if BEGIN not in page:
        return page
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{stages_table(stages)}\n{END}{after}"


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(with_table(file.read_text(), all_stages()))

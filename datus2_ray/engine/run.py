"""One run while it goes on: settings, folder, log, machines, and what the stages before have committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from datus2_ray.config import RunConfig
from datus2_ray.core.backbone.spec import DEFAULT_BACKBONE
from datus2_ray.engine.machines import Machines, choose_device
from datus2_ray.engine.naming import Naming
from datus2_ray.engine.progress import say
from datus2_ray.engine.prospect import Prospect
from datus2_ray.sources.layouts import known
from datus2_ray.sources.list_source import is_counted
from datus2_ray.sources.listing import Listing
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.commit import Commit, F
from datus2_ray.store.events import EventLog
from datus2_ray.store.facts import Discovered, Encoded, Ingested, Labelled, LayerFitted, Sampled, Surveyed, Taught
from datus2_ray.store.lease import hold
from datus2_ray.store.run_folder import PASSED_OVER, RunFolder


@dataclass(frozen=True)
class Run:
    """What every stage is given.

    `commits` are the results of the stages before, by stage; in ``datus2 predict`` also those of another run. `named`
    are the names that a finished run was given, where the command uses them.
    """

    config: RunConfig
    folder: RunFolder
    events: EventLog
    listing: Listing
    machines: Machines
    commits: Mapping[str, Commit[Any]] = field(default_factory=dict)
    named: Naming | None = None

    def commit(self, facts: type[F]) -> Commit[F]:
        """Return the result of an earlier stage, named by its class of facts."""
        commit: Commit[F] = self.commits[facts.stage]
        return commit

    def find(self, facts: type[F]) -> Commit[F] | None:
        """Return the result of an earlier stage; None where the run does without it."""
        return self.commits.get(facts.stage)

    def facts(self, facts: type[F]) -> F:
        """Return the facts of an earlier stage."""
        return self.commit(facts).facts

    def with_commit(self, commit: Commit[Any]) -> Run:
        """Return the same run after a stage."""
        return replace(self, commits={**self.commits, commit.facts.stage: commit})

    def after(self, commits: Mapping[str, Commit[Any]]) -> Run:
        """Return the same run after stages that are finished."""
        return replace(self, commits={**self.commits, **commits})

    def by(self, naming: Naming | None) -> Run:
        """Return the same run with names."""
        return replace(self, named=naming)

    def on(self, machines: Machines) -> Run:
        """Return the same run on other machines."""
        return replace(self, machines=machines)

    def configured(self, config: RunConfig, listing: Listing) -> Run:
        """Return a run in the same folder with other settings, before its first stage."""
        return replace(self, config=config, listing=listing, commits={})

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the ground truth, or those that the layout names."""
        surveyed, names = self.find(Surveyed), tuple(known.find(self.listing.dataset).class_names or ())
        # A single class is no number of clusters.
        return surveyed.facts.classes if surveyed and (surveyed.facts.scored or names) else names

    @property
    def labelled(self) -> bool:
        """Whether there is ground truth to score by."""
        surveyed = self.find(Surveyed)
        return surveyed.facts.scored and surveyed.facts.labelled > 0 if surveyed else self.listing.labelled

    @property
    def unscored(self) -> str | None:
        """Why nothing is scored; None where masks are."""
        surveyed = self.find(Surveyed)
        if self.labelled:
            return None
        if surveyed and surveyed.facts.labelled:
            return "the ground truth has fewer than two classes"
        if surveyed and surveyed.facts.unusable:
            return "no mask of the ground truth can be used"
        return "the source has no ground truth"

    @property
    def backbone(self) -> str:
        """Name, file or URI of the backbone."""
        return self.config.backbone or DEFAULT_BACKBONE

    @property
    def k(self) -> int | None:
        """Number of clusters: given, or the number of classes, or chosen on the sample; None while it is open."""
        if self.config.clusters or self.classes:
            return self.config.clusters or len(self.classes)
        sampled = self.find(Sampled)
        return sampled.facts.k if sampled else None

    @property
    def required_k(self) -> int:
        """Number of clusters, for the stages after the sample."""
        if self.k is None:
            raise ValueError("the number of clusters is neither given nor chosen yet")
        return self.k

    @property
    def naming(self) -> Naming:
        """The names, for stages that need them."""
        if self.named is None:
            raise ValueError("nothing is named")
        return self.named

    @property
    def described(self) -> Commit[Any]:
        """The table with the segments and the descriptors that are clustered: codes of a head, or discover's own."""
        encoded: Commit[Any] | None = self.find(Encoded)
        return encoded or self.commit(Discovered)

    @property
    def prospect(self) -> Prospect:
        """What is known of the run now."""
        table: Commit[Any] | None = self.find(Labelled) or self.find(Ingested)
        counted = self.find(Surveyed) is None and is_counted(self.listing.dataset, self.listing.labelled)
        return Prospect(
            config=self.config,
            machines=self.machines,
            device=choose_device(self.machines, self.config.device),
            parts=table.parts if table else self.listing.counts,
            part_bytes=max(self.listing.sizes.values(), default=0),
            unscored=self.unscored,
            has_k=self.k is not None or counted,
            has_ids=self.listing.columns is not None,
            has_layer=self.find(Discovered) is None and bool(self.find(LayerFitted) or self.find(Taught)),
        )


@contextmanager
def open_run(config: RunConfig, command: str, listing: Listing, machines: Machines) -> Iterator[Run]:
    """Open the run folder that the settings name, and hold its lease while the context lasts.

    Raises
    ------
    UsageError
        If the folder is not free for this command, or another driver works in it.
    """
    folder = RunFolder(config.out)
    folder.claim(config.source, command)
    with hold(folder.uri, command):
        _list_passed_over(folder, listing)
        say("source", *listing.ground_truth)
        yield Run(config, folder, EventLog(folder.path("events.jsonl")), listing, machines)


def listed_before(folder: RunFolder) -> Listing:
    """Return the listing for commands on a finished run: of the source nothing is read that ingest has not listed."""
    table = storage.if_there(parquet.read_table, folder.path(PASSED_OVER))
    passed_over = {} if table is None else {row["path"]: row["reason"] for row in table.to_pylist()}
    dataset = folder.require(Ingested).facts.dataset
    return Listing({}, {}, {}, "", dataset, labelled=False, columns=None, passed_over=passed_over)


def _list_passed_over(folder: RunFolder, listing: Listing) -> None:
    """List the files of the source that are passed over in the run folder; commands have shown how many there are."""
    uri = folder.path(PASSED_OVER)
    columns = {"path": list(listing.passed_over), "reason": list(listing.passed_over.values())}
    table = pa.table(columns, schema=schemas.PASSED_OVER).sort_by("path")
    kept = storage.if_there(parquet.read_table, uri)
    if listing.passed_over and (kept is None or not table.equals(kept)):
        parquet.write_table(uri, table)
    elif kept is not None and not listing.passed_over:
        storage.remove_file(uri)

"""What a stage is: one frozen declaration, from which order, fingerprints, plan, status, titles and docs follow.

A stage either turns every part of the images into a part of its own table (:class:`PerPart`), or computes one result
of the whole set (:class:`Whole`). Its operators are plain callables from block to block that need no Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Generic

import pyarrow as pa

from datus2_ray.core.quick_import import quick_import
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.pools import Pool
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.store.commit import F, fingerprint
from datus2_ray.store.facts import Facts


@dataclass(frozen=True)
class Use:
    """Something that a stage puts on the machines: a pool of model actors, tasks, workers or holders of vectors.

    Parameters
    ----------
    count, max_count : int
        How many at the start, and how many it may grow to.
    gpus : float
        GPUs that each reserves.
    parts : int or None
        Units of work that they share; None where the work is not cut into parts.
    memory : int or None
        Bytes that `max_count` of them are expected to take; None where it depends on the images.
    notes : tuple of str
        What the plan says beside the table.
    """

    runs: str
    count: int
    max_count: int
    device: Device = "cpu"
    gpus: float = 0.0
    parts: int | None = None
    memory: int | None = None
    pool: Pool | None = None
    notes: tuple[str, ...] = ()

    def with_notes(self, notes: Sequence[str]) -> Use:
        """Return the same with notes for the plan."""
        return replace(self, notes=tuple(notes))


@dataclass(frozen=True)
class Model:
    """A class of actors by its name: the driver, which only names it, need not import torch and timm for it."""

    module: str
    name: str

    def __call__(self, *arguments: Any) -> Callable[[pa.Table], pa.Table]:
        """Import the class and build one of it."""
        with quick_import():
            module = import_module(self.module)
        built: Callable[[pa.Table], pa.Table] = getattr(module, self.name)(*arguments)
        return built


@dataclass(frozen=True)
class Operator:
    """One operator of a part: `make` maps a block to a block; with a pool it builds that callable once in every actor.

    `arguments` are names and addresses, never weights.
    """

    make: Callable[..., Any]
    pool: Pool | None = None
    arguments: tuple[Any, ...] = ()

    def build(self) -> Callable[[pa.Table], pa.Table]:
        """Build the callable in this process, as an actor would."""
        built: Callable[[pa.Table], pa.Table] = self.make(*self.arguments) if self.pool else self.make
        return built


@dataclass(frozen=True)
class Placement:
    """Where a stage does its work: the folder of its result, its device, its pools by what they run."""

    uri: str
    device: Device
    pools: Mapping[str, Pool]

    def path(self, *parts: str) -> str:
        """Return the URI of a file of the result."""
        return "/".join([self.uri, *parts])


@dataclass(frozen=True)
class PerPart(Generic[F]):
    """Work that turns every part into a part.

    Parameters
    ----------
    facts : callable
        Called when all parts are there.
    parts : callable
        Returns the parts and the images that come in with each.
    payload : callable
        Returns what the first operator needs to know of a part beside its name.
    metadata : callable
        Returns rows per row group of the files, None for one group, and metadata of their schema.
    bundle : callable
        Puts parts, each a dict of its name and payload, into the items of which every one is a task's. An operator
        without a pool may return an iterator of blocks, a part each.
    """

    operators: Callable[[Run, Placement, Heartbeat], Sequence[Operator]]
    facts: Callable[[Run, Placement], F]
    parts: Callable[[Run], Mapping[str, int]]
    payload: Callable[[Run, str], Mapping[str, Any]] = lambda run, part: {}
    metadata: Callable[[Run], tuple[int | None, dict[bytes, bytes] | None]] = lambda run: (None, None)
    bundle: Callable[[Run, Sequence[dict[str, Any]]], Sequence[dict[str, Any]]] = lambda run, items: items


@dataclass(frozen=True)
class Whole(Generic[F]):
    """Work that computes one result of the whole set: sets the progress' total, writes its files, returns the facts."""

    compute: Callable[[Run, Placement, Progress], F]
    unit: str


@dataclass(frozen=True)
class Identity:
    """What a result is on a device: its fingerprint, and what decides it: settings, and fingerprints of its inputs."""

    device: Device
    decides: Mapping[str, Any]
    inputs: Mapping[str, str]
    fingerprint: str


def _always(prospect: Prospect) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Stage(Generic[F]):
    """A step of a run.

    Parameters
    ----------
    facts : type
        Dataclass of its facts; names the stage.
    title : str
        What it does, for terminal, report and docs.
    writes : mapping of str to str
        Files of its result and what they hold.
    version : int
        Of its code; raised when the same settings give another result.
    reads, may_read : tuple of type
        Stages whose tables it reads, by their facts: it is left out where one of `reads` was. Their fingerprints are
        part of its own.
    reads_either : tuple of type
        The same, of which one is enough: it is left out where all of them were.
    decides : callable
        Returns what else decides its result: settings, seed, weights by content.
    computes : bool
        Whether models compute in it, so that the device is part of the fingerprint.
    adds : bool
        Whether it only adds to a finished run, which stays finished meanwhile.
    left_out : callable
        Returns why a run does without the stage; None where it does not.
    uses : callable
        Returns what it puts on the machines: the plan shows it, and its pools are what the operators get.
    """

    facts: type[F]
    title: str
    writes: Mapping[str, str]
    version: int
    work: PerPart[F] | Whole[F]
    decides: Callable[[Run, Device], Mapping[str, Any]]
    uses: Callable[[Prospect], Sequence[Use]]
    reads: tuple[type[Facts], ...] = ()
    may_read: tuple[type[Facts], ...] = ()
    reads_either: tuple[type[Facts], ...] = ()
    computes: bool = False
    adds: bool = False
    left_out: Callable[[Prospect], str | None] = field(default=_always)

    @property
    def name(self) -> str:
        """Name of the stage, of its folder and of its section of the settings."""
        return self.facts.stage

    def identify(self, run: Run, device: Device) -> Identity:
        """Return the identity of the result on a device; may read whole weights files, which count by content."""
        decides = {**self.decides(run, device), **({"device": device} if self.computes else {})}
        inputs = {
            facts.stage: run.commits[facts.stage].fingerprint
            for facts in (*self.reads, *self.may_read, *self.reads_either)
            if facts.stage in run.commits
        }
        return Identity(device, decides, inputs, fingerprint(self.name, self.version, decides, inputs))

    def reason_left_out(self, prospect: Prospect, left_out: Mapping[str, str]) -> str | None:
        """Return why a run does without the stage, given the stages before it that it does without."""
        missing = [facts.stage for facts in self.reads if facts.stage in left_out]
        either = [facts.stage for facts in self.reads_either if facts.stage in left_out]
        if either and len(either) == len(self.reads_either):
            missing += either
        return left_out[missing[0]] if missing else self.left_out(prospect)

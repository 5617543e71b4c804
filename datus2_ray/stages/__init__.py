"""The stages of every command, in order: add a step by writing its declaration and naming it here."""

from __future__ import annotations

from typing import Any

from datus2_ray.engine.stage import Stage
from datus2_ray.stages.cluster.baseline import BASELINE
from datus2_ray.stages.cluster.cluster import CLUSTER
from datus2_ray.stages.cluster.token_tree import TOKEN_TREE
from datus2_ray.stages.discover.discover import DISCOVER
from datus2_ray.stages.em.em import EM
from datus2_ray.stages.em.teach import TEACH
from datus2_ray.stages.evaluate.evaluate import EVALUATE
from datus2_ray.stages.evaluate.names import SCORE_NAMES
from datus2_ray.stages.export import EXPORT
from datus2_ray.stages.head.codes import CODES
from datus2_ray.stages.head.head import HEAD
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.ingest.survey import SURVEY
from datus2_ray.stages.ingest.to_shards import SHARDS
from datus2_ray.stages.label.label import LABEL
from datus2_ray.stages.names.named import NAMED
from datus2_ray.stages.predict.predict import PREDICT
from datus2_ray.stages.predict.taught import TAUGHT
from datus2_ray.stages.pretrain.pretrain import PRETRAIN
from datus2_ray.stages.probe.probe import PROBE
from datus2_ray.stages.refine.refine import REFINE
from datus2_ray.stages.sample.sample import SAMPLE

Stages = tuple[Stage[Any], ...]

RUN: Stages = (
    INGEST,
    SURVEY,
    SAMPLE,
    DISCOVER,
    HEAD,
    CODES,
    CLUSTER,
    LABEL,
    EM,
    REFINE,
    PREDICT,
    TOKEN_TREE,
    BASELINE,
    EVALUATE,
    EXPORT,
)

#: The run of an experiment that compares named clusters with what is learned from labels.
PROBED_RUN: Stages = (*RUN, PROBE)
INGEST_COMMAND: Stages = (SHARDS,)
PRETRAIN_COMMAND: Stages = (INGEST, PRETRAIN)

#: `datus2 name`, in the folder of a finished run: masks as its clusters are named, and by a layer that learns names.
NAME_COMMAND: Stages = (NAMED, SCORE_NAMES)
TEACH_COMMAND: Stages = (NAMED, TEACH, TAUGHT, SCORE_NAMES)

#: `datus2 predict`: by the segmenter of a finished run, or by its centroids where it has none.
PREDICT_COMMAND: Stages = (INGEST, PREDICT, EXPORT)
LABEL_COMMAND: Stages = (INGEST, DISCOVER, CODES, LABEL, EXPORT)
PREDICT_NAMES_COMMAND: Stages = (INGEST, PREDICT, NAMED, EXPORT)
LABEL_NAMES_COMMAND: Stages = (INGEST, DISCOVER, CODES, LABEL, NAMED, EXPORT)
PREDICT_TAUGHT_COMMAND: Stages = (INGEST, TAUGHT, EXPORT)

#: Stages that a folder of each command may hold.
COMMANDS: dict[str, Stages] = {
    "run": (*RUN[:-1], *TEACH_COMMAND, EXPORT),
    "experiment": PROBED_RUN,
    "ingest": INGEST_COMMAND,
    "pretrain": PRETRAIN_COMMAND,
    "predict": (INGEST, DISCOVER, CODES, LABEL, PREDICT, NAMED, TAUGHT, EXPORT),
}

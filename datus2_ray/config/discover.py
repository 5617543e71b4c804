"""Settings of discover, which finds the segments of every image and describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from datus2_ray.config.base import Dtype, StageConfig, check_fit, choose_arithmetic, experimental, expert, setting


class DiscoverConfig(StageConfig):
    """Discover: images → segments and their descriptors."""

    grid: int | None = setting(
        28, "Patches along a side of the square that the backbone sees; with keep_aspect, of the shorter side.", ge=4
    )
    input_size: int | None = setting(
        None, "Side in pixels of the square that the backbone sees; replaces discover.grid.", ge=32
    )
    keep_aspect: bool = setting(False, "Keep the aspect ratio of images, up to 1:3, instead of squashing to a square.")
    mirror: bool = expert(False, "Average the patch vectors of an image and its mirror image; takes twice the time.")
    tile: int | None = setting(
        None, "Side in pixels of overlapping windows, in which larger images are seen; default whole.", ge=32
    )
    window: int | None = setting(
        1024,
        "Side in pixels of the overlapping windows in which an image of more than four of them along a side is seen, "
        "such as an aerial tile; null for all images whole.",
        ge=32,
    )
    reduced_decoding: bool = expert(
        False,
        "Decode JPEGs at 1/2, 1/4 or 1/8 of their size where the backbone sees fewer pixels; results differ slightly.",
    )
    unit: Literal["segments", "patches"] = setting(
        "segments",
        "What is described and clustered: segments, or every patch for itself, without a graph. "
        "With patches, settings of the graph, resolution, tau and noise have no effect.",
    )
    feature: Literal["key", "query", "value", "token"] = setting(
        "token", "Vectors of the patches from which the graph is built."
    )
    block: int = expert(-1, "Transformer block whose vectors are used; -1 is the last.")
    blocks: int = experimental(1, "Number of blocks whose vectors are averaged, ending with discover.block.", ge=1)
    graph: Literal["binary", "neighbours"] = setting(
        "neighbours",
        "Links of the graph: all pairs of patches with a positive product, or cosines with the nearest neighbours.",
    )
    neighbours: int = setting(16, "Nearest neighbours that a patch is linked with (graph = neighbours).", ge=1)
    threshold: float = experimental(0.0, "Links of this weight or less are dropped (graph = neighbours).", ge=0, lt=1)
    place: float = setting(
        0.2, "Mean reduction of a cosine for the distance of the patches (graph = neighbours).", ge=0, le=10
    )
    colour: float = setting(
        0.2, "Mean reduction for the difference of the patches' mean colours (graph = neighbours).", ge=0, le=10
    )
    louvain: Literal["compiled", "networkx", "python-louvain"] = expert(
        "compiled", "Implementation of Louvain; compiled finds the partition of scikit-network."
    )
    louvain_orders: int = expert(
        1, "Orders of the patches that compiled tries; the partition of highest modularity is kept.", ge=1
    )
    resolution: float = setting(
        3.0, "Resolution of Louvain; a higher one gives smaller segments.", gt=0, allow_inf_nan=False
    )
    tau: int = setting(5, "A segment is valid if it has more patches than this, else it is noise.", ge=0)
    noise: Literal["kept", "given"] = setting(
        "given", "Patches of no valid segment are kept as noise, or given to the most similar segment."
    )
    descriptor: Literal["cls", "tokens", "tokens+cls", "cnn"] = setting(
        "tokens", "Descriptor of a segment: CLS token of its crop, mean of its tokens, both, or a CNN on its crop."
    )
    cnn: str | None = expert(None, "CNN for descriptor = cnn: a timm name, file or s3:// URI, or untrained:resnet50.")
    dtype: Dtype = expert(
        "float32", "Arithmetic of the forward passes; auto is bfloat16 on a GPU and float32 on a CPU."
    )
    compile: bool = experimental(False, "Compile the blocks of the transformer with torch.compile in every actor.")
    # On a GPU they count all the same, for an image's result depends on its batch: engine/operators/decides.py.
    batch_size: int | None = expert(
        None,
        "Images per forward pass; default 4 on a CPU, 8 on a GPU. Changes the speed; on a GPU also the last digits, so "
        "that another value repeats the stage.",
        ge=1,
        decides="speed",
    )
    crop_batch_size: int | None = expert(
        None,
        "Crops per forward pass; default 4 on a CPU, 32 on a GPU. Changes the speed; on a GPU also the last digits, so "
        "that another value repeats the stage.",
        ge=1,
        decides="speed",
    )
    actors: int | None = setting(
        None,
        "Actors per pool at the start, in predict too; default one per GPU, else one per CPU and 24 images.",
        ge=1,
        decides="speed",
    )
    max_actors: int | None = setting(
        None, "Actors that each pool may grow to; default no growth.", ge=1, decides="speed"
    )
    gpus_per_actor: float | None = expert(
        None,
        "Share of a GPU that an actor reserves; default such that all actors fit.",
        ge=0.01,
        le=1,
        decides="speed",
    )

    @model_validator(mode="before")
    @classmethod
    def _prefer_pixels_to_the_default_grid(cls, given: Any) -> Any:
        pixels = isinstance(given, dict) and given.get("input_size") is not None
        return {"grid": None, **given} if pixels else given

    @model_validator(mode="after")
    def _check_fit(self) -> DiscoverConfig:
        weighted = [name for name in ("threshold", "place", "colour") if getattr(self, name)]
        check_fit(
            (
                self.grid is not None and self.input_size is not None,
                f"grid = {self.grid} and input_size = {self.input_size} both say how large an image is seen",
                "discover.input_size=null or discover.grid=null",
            ),
            (
                self.grid is None and self.input_size is None,
                "neither grid nor input_size says how large an image is seen",
                "discover.grid=28 or discover.input_size=224",
            ),
            (
                self.descriptor == "cnn" and self.cnn is None,
                "descriptor = cnn needs a network",
                "discover.cnn=untrained:resnet50, a timm name or a file",
            ),
            (  # patches from all over an image would stretch the box that is cut out
                self.noise == "given" and self.descriptor != "tokens",
                f"noise = given needs descriptor = tokens, not {self.descriptor}, as crops show whole boxes",
                "discover.noise=kept or discover.descriptor=tokens",
            ),
            (
                self.unit == "patches" and self.descriptor != "tokens",
                f"unit = patches needs descriptor = tokens, not {self.descriptor}, as no crop is cut of a patch",
                "discover.unit=segments or discover.descriptor=tokens",
            ),
            (
                self.graph == "binary" and bool(weighted),
                f"{', '.join(weighted)}: a binary graph has no weights",
                f"{' '.join(f'discover.{name}=0' for name in weighted)} or discover.graph=neighbours",
            ),
            (
                self.louvain_orders > 1 and self.louvain != "compiled",
                f"louvain_orders = {self.louvain_orders} needs louvain = compiled, not {self.louvain}",
                "discover.louvain_orders=1 or discover.louvain=compiled",
            ),
            (
                0 <= self.block < self.blocks - 1,
                f"blocks = {self.blocks} are more than there are up to block = {self.block}",
                f"discover.blocks={self.block + 1} or discover.block=-1",
            ),
            (
                bool(self.actors and self.max_actors and self.max_actors < self.actors),
                f"max_actors = {self.max_actors} must not be below actors = {self.actors}",
                f"discover.max_actors={self.actors} or fewer discover.actors",
            ),
        )
        return self

    def side(self, patch: int) -> int:
        """Return the side in pixels of the square that a backbone sees, given the side of its patches in pixels.

        With ``keep_aspect`` it is the shorter side.
        """
        return (self.grid or 0) * patch if self.input_size is None else self.input_size

    def arithmetic(self, device: str) -> Literal["float32", "bfloat16"]:
        """Return the arithmetic of the forward passes on ``cpu`` or ``cuda``."""
        return choose_arithmetic(self.dtype, device)

    def batch_sizes(self, device: str) -> tuple[int, int]:
        """Return the images and the crops per forward pass on ``cpu`` or ``cuda``."""
        # On a GPU at least two passes per part of 16 images, so that one is computed while the other is read.
        images, crops = (8, 32) if device == "cuda" else (4, 4)
        return self.batch_size or images, self.crop_batch_size or crops

    @property
    def describes_by_tokens(self) -> bool:
        """Whether patch tokens are part of the descriptors."""
        return self.descriptor in ("tokens", "tokens+cls")

    @property
    def pools(self) -> int:
        """Number of pools of model actors: one embeds images, a second one describes crops if there are any."""
        return 1 if self.descriptor == "tokens" else 2

"""The frozen vision transformer: from uint8 images to patch vectors (keys, queries, values, tokens) and CLS vectors.

Names, preprocessing and architectures are timm's. The patch vectors are those of METHOD.md's step 2; the tokens of an
earlier block pass the final norm, as in DINO's ``get_intermediate_layers`` (Caron et al., 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from datus2_ray.core.backbone.architecture import Family, load_timm, skeleton
from datus2_ray.core.backbone.compiler import require_compiler
from datus2_ray.core.backbone.infer import infer_vit
from datus2_ray.core.backbone.spec import DEFAULT_BACKBONE, fingerprint, parse_spec
from datus2_ray.core.backbone.taps import PROJECTIONS, Enough, Tap, check_tap, hook_projections, keep_output, then_stop
from datus2_ray.core.images.normalise import Normalisation
from datus2_ray.errors import BackboneError

__all__ = ["DEFAULT_BACKBONE", "Backbone", "fingerprint", "load_backbone"]

# The position embeddings stay at the file's own grid and are interpolated, once, in the forward pass: any size fits.
VIT = Family(
    "vision transformer (ViT, DeiT or EVA)",
    "--backbone",
    ("vision_transformer", "eva", "deit"),
    infer_vit,
    {"dynamic_img_size": True},
)

# DINOv2 was trained at 518 pixels; 224 gives its patches the 16 x 16 grid of METHOD.md.
INPUT_SIZE_OF_PATCH = {14: 224}


class Backbone:
    """A frozen vision transformer in evaluation mode, with the preprocessing that it was trained with.

    From :func:`load_backbone`. An image's vectors do not depend on its batch: bitwise on a CPU in float32.

    Attributes
    ----------
    name : str
        The timm name, ``untrained:NAME``, :data:`DEFAULT_BACKBONE`, or the file's name.
    model : nn.Module
        timm's model.
    patch_size, dim, input_size : int
        Side of a patch in pixels, length of a vector, and side of the square image that it sees by default in pixels.
    depth : int
        Number of blocks.
    mean, std : tuple of float
        RGB statistics of the training images, for pixels in 0..1.
    trained : bool
        False if the weights are random.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        normalisation: Normalisation,
        *,
        input_size: int,
        trained: bool,
        dtype: Literal["float32", "bfloat16"] = "float32",
        compiled: bool = False,
    ) -> None:
        self.name = name
        self.model = model
        self.patch_size: int = model.patch_embed.patch_size[0]
        self.dim: int = model.embed_dim
        self.depth = len(model.blocks)
        self.mean, self.std = normalisation.mean, normalisation.std
        self.device = normalisation.device
        self.input_size = input_size
        self.trained = trained
        self._normalisation = normalisation
        self._dtype = dtype
        self._compiled: list[Callable[..., Any]] = []
        if compiled:
            from torch._inductor import config as inductor  # seconds that only this needs

            # Many actors compile at once, and each of them little: no pool of processes for it.
            inductor.compile_threads = 1
            # One kernel for all sizes of a batch: which one an image meets does not depend on what came before it.
            self._compiled = [torch.compile(block.forward, dynamic=True) for block in model.blocks]
        self.grid(input_size, input_size)

    def __deepcopy__(self, memo: dict[int, Any]) -> Backbone:
        """Return itself: it is frozen, so what holds it may be copied without its weights."""
        return self

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of patches of an image; a BackboneError if a side is no multiple of the patch."""
        if height % self.patch_size or width % self.patch_size or not height or not width:
            near = max(1, round(height / self.patch_size)) * self.patch_size
            raise BackboneError(
                f"{self.name} needs images whose sides are multiples of its patch size {self.patch_size}, "
                f"not {height}x{width}; give an input size of {near}"
            )
        return height // self.patch_size, width // self.patch_size

    def normalise(self, pixels: Tensor) -> Tensor:
        """Turn uint8 RGB pixels (B, H, W, 3) into the model's float32 input (B, 3, H, W), on the backbone's device."""
        return self._normalisation(pixels)

    def extract(self, pixels: Tensor, taps: Sequence[Tap]) -> dict[Tap, Tensor]:
        """Compute the vectors of a batch of images, all taps from one forward pass, which ends at the deepest of them.

        Parameters
        ----------
        pixels : Tensor
            uint8 RGB, shape (B, H, W, 3), on any device.

        Returns
        -------
        dict of Tap to Tensor
            float32 on the backbone's device: shape (B, N, dim) for patches, in raster order and without CLS and
            register tokens; shape (B, dim) for ``cls``.

        Raises
        ------
        BackboneError
            If a side is no multiple of the patch size, or the model lacks what a tap asks for.
        """
        self.grid(pixels.shape[1], pixels.shape[2])
        blocks = {tap: self._block_index(tap) for tap in taps}
        projections = {blocks[tap] for tap in taps if tap.kind in PROJECTIONS}
        outputs = {blocks[tap] for tap in taps if tap.kind not in PROJECTIONS}
        deepest = max(projections | outputs)
        projected: dict[int, tuple[Tensor, ...]] = {}
        tokens: dict[int, Tensor] = {}
        final = torch.empty(0)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self._dtype == "bfloat16")
        with torch.inference_mode(), autocast, ExitStack() as hooks:
            for index in projections:
                keep_projections: Callable[[tuple[Tensor, ...]], None] = partial(projected.__setitem__, index)
                if index == deepest and index not in outputs:
                    keep_projections = then_stop(keep_projections)
                for handle in hook_projections(self.model.blocks[index].attn, keep_projections):
                    hooks.callback(handle.remove)
            # What a hook within a block hands over, a compiled block would not.
            for index in set(range(len(self._compiled))) - projections:
                block = self.model.blocks[index]
                block.forward = self._compiled[index]
                hooks.callback(delattr, block, "forward")
            for index in outputs - {self.depth - 1}:
                keep = partial(tokens.__setitem__, index)
                hook = partial(keep_output, then_stop(keep) if index == deepest else keep)
                hooks.callback(self.model.blocks[index].register_forward_hook(hook).remove)
            with suppress(Enough):
                final = self.model.forward_features(self.normalise(pixels))
            tokens = {index: self.model.norm(output) for index, output in tokens.items()}
        return {tap: self._select(tap, projected.get(blocks[tap], ()), tokens.get(blocks[tap], final)) for tap in taps}

    def _select(self, tap: Tap, projected: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
        if tap.kind == "cls":
            vectors = tokens[:, 0]
        else:
            every = projected[PROJECTIONS.index(tap.kind)] if tap.kind in PROJECTIONS else tokens
            vectors = every[:, self.model.num_prefix_tokens :]
        return vectors.to(torch.float32, memory_format=torch.contiguous_format, copy=True)

    def _block_index(self, tap: Tap) -> int:
        check_tap(self.model, self.name, tap)
        return tap.block % self.depth


def load_backbone(
    spec: str,
    *,
    input_size: int | None = None,
    device: str = "cpu",
    dtype: Literal["float32", "bfloat16"] = "float32",
    compiled: bool = False,
) -> Backbone:
    """Load a vision transformer, and leave the global random state as it was.

    Parameters
    ----------
    spec : str
        A timm name, whose weights come from the hub; a weights file; ``FILE::TIMM_NAME``, if the architecture cannot be
        inferred from the file; ``untrained:TIMM_NAME``, the same random weights every time; or
        :data:`DEFAULT_BACKBONE`.
    input_size : int, optional
        Side of the square that it sees, in pixels; default what it was trained with, but 224 for patches of 14 pixels.
    dtype : str
        ``float32``, or ``bfloat16`` for autocast. The vectors are float32 in both.
    compiled : bool
        Whether blocks are compiled by ``torch.compile`` in the first pass, which takes a C++ compiler; vectors then
        differ in their last digits, and may do so from a batch of one image to a larger one.

    Raises
    ------
    BackboneError
        If the model is unknown or not a vision transformer, if its weights cannot be fetched or read or do not fit, if
        the input size is not a multiple of the patch size, or if there is no compiler.
    """
    if compiled:
        require_compiler()
    parsed = parse_spec(spec)
    loaded = load_timm(parsed, VIT)
    patches: Any = loaded.model.patch_embed
    default = loaded.input_size or INPUT_SIZE_OF_PATCH.get(patches.patch_size[0], patches.img_size[0])
    return Backbone(
        parsed.label,
        loaded.model.to(device),
        Normalisation(loaded.mean, loaded.std, torch.device(device)),
        input_size=input_size or default,
        trained=loaded.trained,
        dtype=dtype,
        compiled=compiled,
    )


def check_taps(spec: str, taps: Sequence[Tap]) -> None:
    """Raise a BackboneError if a backbone lacks what taps ask for; nothing is fetched from a hub."""
    parsed = parse_spec(spec)
    model = skeleton(parsed, VIT)
    for tap in taps:
        check_tap(model, parsed.label, tap)

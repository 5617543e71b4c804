"""One step of self-supervised training: views, student, teacher, losses, optimiser. Needs neither Ray nor files.

A student sees all views of an image; a teacher, its running average, the two large ones. The student's CLS token
predicts the teacher's prototypes of the other view (DINO, Caron et al., arXiv 2104.14294); its patches predict those of
the teacher's patches: hidden ones of the same view (iBOT, Zhou et al., arXiv 2111.07832), or, without hiding any, those
of the same place in the other view (as in DenseCL, Wang et al., arXiv 2011.09157, but with prototypes for negatives).
With the objective ``texture`` some coordinates of a patch's token also learn, without the teacher, what the patch of
the whole image looks like and where it is, of hidden patches too (as in MaskFeat, Wei et al., arXiv 2112.09133).
Heads and the masked transformer are lightly's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from lightly.models.utils import get_weight_decay_parameters, update_momentum
from lightly.utils.scheduler import cosine_schedule, cosine_warmup_schedule
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from datus2_ray.core.pretrain.alignment import align_patches, draw_masks, draw_shown
from datus2_ray.core.pretrain.crops import Views, draw_boxes, draw_views, render_views
from datus2_ray.core.pretrain.encoder import Encoder, Whole, attend_by_plain_products
from datus2_ray.core.pretrain.health import feature_deviation, prototype_information
from datus2_ray.core.pretrain.model import Start
from datus2_ray.core.pretrain.prototypes import balanced_assignments, cls_cross_entropy, patch_cross_entropy
from datus2_ray.core.pretrain.recipe import Recipe
from datus2_ray.core.pretrain.texture import TextureTarget, texture_distance

GLOBALS = 2

#: Weights of the cross entropies of CLS and of patches, and of the distance from texture, where that is taught.
TEXTURE_WEIGHTS = (0.5, 0.5, 4.0)

#: Largest norm of the gradient.
GRADIENT_NORM = 3.0


@dataclass(frozen=True)
class StepResult:
    """Scalars of a step, on the device, so that nobody has to wait for it.

    Parameters
    ----------
    loss, cls_loss, patch_loss, texture_loss : Tensor
        Mean over this worker's images; the first is the sum of the others, weighted for the objective ``texture``.
    deviation, information : Tensor
        :func:`~datus2_ray.core.pretrain.health.feature_deviation` of the free coordinates of the teacher's patches, and
        :func:`~datus2_ray.core.pretrain.health.prototype_information` of its CLS tokens.
    """

    loss: Tensor
    cls_loss: Tensor
    patch_loss: Tensor
    texture_loss: Tensor
    deviation: Tensor
    information: Tensor


class Pretraining:
    """The state of a training and its step.

    Parameters
    ----------
    recipe : Recipe
        Its objective is resolved.
    seed : int
        Of weights and views.
    build : callable
        Builds what the training starts from; called twice, for student and teacher, who start alike.
    device : torch.device
        Where it computes.
    parallel : callable, optional
        Wraps the student if several workers train (``DistributedDataParallel``).
    bfloat16 : bool
        Whether the forward passes compute in bfloat16.
    """

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        build: Callable[[], Start],
        device: torch.device,
        parallel: Callable[[nn.Module], nn.Module] | None = None,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.recipe, self.seed, self.device, self._bfloat16 = recipe, seed, device, bfloat16
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            starts = build(), build()
            torch.default_generator.manual_seed(seed)  # the same heads, whatever the ViT took
            self.student, self.teacher = (Encoder(start.vit, recipe).to(device) for start in starts)
        if device.type == "cpu" and bfloat16:
            attend_by_plain_products(self.student, self.teacher)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(requires_grad=False)
        self._student = self.student if parallel is None else parallel(self.student)
        decayed, free = get_weight_decay_parameters([self.student])
        groups = [
            {"params": [p for p in decayed if p.requires_grad], "weight_decay": recipe.weight_decay},
            {"params": [p for p in free if p.requires_grad], "weight_decay": 0.0},
        ]
        self._optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=device.type == "cuda")
        self._mean, self._std = (
            torch.tensor(values, device=device).view(3, 1, 1) for values in (starts[0].mean, starts[0].std)
        )
        self._texture = TextureTarget(self.patch_size).to(device) if recipe.patch_objective == "texture" else None
        self.steps_done = 0

    def step(self, images: Tensor, rank: int = 0, workers: int = 1) -> StepResult:
        """Take one optimiser step.

        Parameters
        ----------
        images : Tensor
            This worker's slice of the batch: uint8, shape [batch / workers, 3, S, S], on the device.
        """
        recipe = self.recipe
        local = len(images)
        batch, mine = local * workers, slice(rank * local, (rank + 1) * local)
        rng = np.random.default_rng((self.seed, self.steps_done))
        regions = draw_boxes(recipe.region_area, batch, rng)
        specs = recipe.view_specs()
        views = [draw_views(spec, regions, rng)[mine] for spec in specs]
        masks = None
        if recipe.patch_objective == "masked":
            grid = recipe.global_size // self.patch_size
            masks = torch.cat([draw_masks(batch, grid, rng)[mine] for _ in range(GLOBALS)]).to(self.device)
        unit = images.float().div_(255)
        pixels = [self._normalise(render_views(unit, view, spec.size)) for view, spec in zip(views, specs, strict=True)]
        whole, textures = None, None
        if self._texture is not None:
            mirrored, shown, hidden, textures = draw_whole(unit, self._texture, rng, mine, batch)
            whole = Whole(self._normalise(mirrored), shown, hidden)
        groups = [torch.cat(pixels[:GLOBALS]), *([torch.cat(pixels[GLOBALS:])] if recipe.local_views else [])]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            with torch.no_grad():
                tokens = self.teacher.encode(groups[0])
                patches = tokens[:, self.teacher.prefix :]
                targets = balanced_assignments(self.teacher.cls_head(tokens[:, 0]).float(), recipe.temperature)
                teacher_logits, wanted = self._teacher_patches(patches, views, masks)
                patch_targets = [balanced_assignments(logits, recipe.temperature) for logits in teacher_logits]
            logits, patch_logits, shown_tokens = self._student(groups, masks, wanted, whole)
        cls_loss = cls_cross_entropy(torch.split(targets, local), torch.split(logits.float(), local))
        patch_loss = texture_loss = torch.zeros((), device=self.device)
        if wanted:
            losses = map(patch_cross_entropy, patch_targets, (group.float() for group in patch_logits), wanted)
            patch_loss = torch.stack(list(losses)).mean()
        loss = cls_loss + patch_loss
        if textures is not None:
            texture_loss = texture_distance(shown_tokens, textures)
            parts = zip(TEXTURE_WEIGHTS, (cls_loss, patch_loss, texture_loss), strict=True)
            loss = torch.stack([weight * part for weight, part in parts]).sum()
        self._descend(loss)
        deviation = feature_deviation(self.teacher.free(patches).flatten(0, 1))
        information = prototype_information(targets)
        return StepResult(*torch.stack([loss, cls_loss, patch_loss, texture_loss, deviation, information]).detach())

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(cast(Any, self.student.vit.vit.patch_embed).patch_size[0])

    def backbone(self) -> VisionTransformer:
        """Return the teacher's ViT, the result of the training."""
        vit: VisionTransformer = self.teacher.vit.vit
        return vit

    @torch.no_grad()
    def patch_tokens(self, images: Tensor) -> Tensor:
        """Return the teacher's patch tokens of whole images (uint8 [B, 3, S, S]): float32, shape [B, g², dim]."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            tokens = self.teacher.encode(self._normalise(images.float().div_(255)))
        return tokens[:, self.teacher.prefix :].float()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed training needs to continue as if it had not been interrupted."""
        return {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "texture": None if self._texture is None else self._texture.state_dict(),
            "steps_done": self.steps_done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a training of the same recipe and seed."""
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._texture is not None:
            self._texture.load_state_dict(state["texture"])
        self.steps_done = state["steps_done"]

    def _normalise(self, pixels: Tensor) -> Tensor:
        return (pixels - self._mean) / self._std

    def _teacher_patches(
        self, tokens: Tensor, views: Sequence[Views], masks: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the teacher's outputs for patches of each group of views, and for which patches they are."""
        if self.teacher.patch_head is None:
            return [], []
        if masks is not None:
            return [self.teacher.patch_logits(tokens[masks.flatten(1)]).float()], [masks]
        outputs, wanted = [], []
        first, second = tokens.chunk(GLOBALS)
        pairs = [(second, views[1], views[0]), (first, views[0], views[1])]
        pairs += [((first, second)[k % 2], views[k % 2], view) for k, view in enumerate(views[GLOBALS:])]
        for group, size in ((pairs[:GLOBALS], self.recipe.global_size), (pairs[GLOBALS:], self.recipe.local_size)):
            if not group:
                continue
            grid = size // self.patch_size
            aligned = [align_patches(read.float(), source, target, grid) for read, source, target in group]
            vectors, seen = (torch.cat(parts) for parts in zip(*aligned, strict=True))
            outputs.append(self.teacher.patch_logits(vectors[seen.flatten(1)]).float())
            wanted.append(seen)
        return outputs, wanted

    def _descend(self, loss: Tensor) -> None:
        recipe, step = self.recipe, self.steps_done
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if step < recipe.warmup_steps:  # prototypes that move at once make a collapse likely
            for head in (self.student.cls_head, self.student.patch_head):
                if head is not None:
                    head.last_layer.zero_grad()
        nn.utils.clip_grad_norm_(self.student.parameters(), GRADIENT_NORM)
        self._optimiser.step()
        update_momentum(self.student, self.teacher, teacher_momentum(recipe, step))
        self.steps_done += 1


def draw_whole(
    images: Tensor, texture: TextureTarget, rng: np.random.Generator, mine: slice, batch: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mirror about half of the images [B, 3, S, S] in 0..1, a slice of the batch, and choose the patches to show.

    Returns
    -------
    images, shown, hidden, textures : Tensor
        The images, what :func:`~datus2_ray.core.pretrain.alignment.draw_shown` returns, and the textures of the shown
        patches, shape [B, n, TAUGHT].
    """
    mirrored = torch.from_numpy(rng.random(batch) < 0.5)[mine].to(images.device)
    images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    drawn = draw_shown(batch, images.shape[-1] // texture.patch_size, rng)
    shown, hidden = (choice[mine].to(images.device) for choice in drawn)
    textures = texture(images)
    return images, shown, hidden, torch.gather(textures, 1, shown[..., None].expand(-1, -1, textures.shape[-1]))


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return a step's learning rate: a linear rise, then a cosine down to a hundredth."""
    highest = recipe.learning_rate
    return float(cosine_warmup_schedule(step, recipe.steps, highest, highest / 100, recipe.warmup_steps, 0.0))


def teacher_momentum(recipe: Recipe, step: int) -> float:
    """Return the momentum of the teacher's average in a step."""
    return float(cosine_schedule(step, recipe.steps, recipe.momentum, 1.0))

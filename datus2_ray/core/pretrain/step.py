"""One step of self-supervised training: views, student, teacher, losses, optimiser. Needs neither Ray nor files.

A student sees all views of an image; a teacher, its running average, the two large ones. The student's CLS token tells
the teacher's prototypes of the other view (DINO, Caron et al., arXiv 2104.14294); its patches tell those of the
teacher's patches: hidden ones of the same view (iBOT, Zhou et al., arXiv 2111.07832), or, without hiding any, those of
the same place in the other view (as in DenseCL, Wang et al., arXiv 2011.09157, but with prototypes for negatives). With
that goes, on request, in coordinates of its own and without the teacher, what a patch of the whole image looks like and
where it is, of hidden patches too (as in MaskFeat, Wei et al., arXiv 2112.09133).
Heads and the masked transformer are lightly's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from lightly.models.utils import get_weight_decay_parameters, update_momentum
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from datus2_ray.core.pretrain.alignment import align_patches, draw_masks, draw_shown
from datus2_ray.core.pretrain.crops import Views, draw_boxes, draw_views, render_views
from datus2_ray.core.pretrain.encoder import Encoder, Whole, attend_by_plain_products
from datus2_ray.core.pretrain.health import feature_deviation, prototype_information
from datus2_ray.core.pretrain.model import Start
from datus2_ray.core.pretrain.prototypes import balanced_assignments, cls_cross_entropy, patch_cross_entropy
from datus2_ray.core.pretrain.recipe import Recipe
from datus2_ray.core.pretrain.texture_target import TextureTarget, texture_distance

GLOBALS = 2

#: Weights of the cross entropies of CLS and of patches, and of the distance from texture, where that is taught.
TEXTURE_WEIGHTS = (0.5, 0.5, 4.0)

#: Largest norm of the gradient.
GRADIENT_NORM = 3.0


@dataclass(frozen=True)
class StepResult:
    """What a step shows of itself; scalars on the device, so that nobody has to wait for it.

    Parameters
    ----------
    loss, cls_loss, patch_loss, texture_loss : Tensor
        Mean over this worker's images; the first is the sum of the others, weighted for the objective ``texture``.
    deviation, information : Tensor
        :func:`~datus2_ray.core.pretrain.health.feature_deviation` of the teacher's patches, of what no formula teaches
        them, and :func:`~datus2_ray.core.pretrain.health.prototype_information` of its CLS tokens.
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
        What is trained, and how.
    build : callable
        Makes what the training starts from; called twice, for student and teacher, who start alike.
    device : torch.device
        Where it computes.
    parallel : callable, optional
        What the student is wrapped in where several workers train (``DistributedDataParallel``).
    bfloat16 : bool
        Whether the forward passes compute in bfloat16.
    """

    def __init__(
        self,
        recipe: Recipe,
        build: Callable[[], Start],
        device: torch.device,
        parallel: Callable[[nn.Module], nn.Module] | None = None,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.recipe, self.device, self._bfloat16 = recipe, device, bfloat16
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(recipe.seed)
            starts = build(), build()
            torch.default_generator.manual_seed(recipe.seed)  # the same heads, whatever the ViT took
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
        self._texture = None
        if recipe.patch_objective == "texture":
            self._texture = TextureTarget(self.patch_size).to(device)
        self.steps_done = 0

    def step(self, images: Tensor, rank: int = 0, workers: int = 1) -> StepResult:
        """Take one optimiser step.

        Parameters
        ----------
        images : Tensor
            This worker's slice of the batch: uint8, shape [batch / workers, 3, S, S], on the device.
        rank, workers : int
            Which slice it is, of how many.
        """
        recipe, step = self.recipe, self.steps_done
        local = len(images)
        mine = slice(rank * local, (rank + 1) * local)
        rng = np.random.default_rng((recipe.seed, step))
        regions = draw_boxes(recipe.region_area, local * workers, rng)
        views = [draw_views(spec, regions, rng)[mine] for spec in recipe.view_specs()]
        grid = recipe.global_size // self.patch_size
        masks = None
        if recipe.patch_objective == "masked":
            masks = torch.cat([draw_masks(local * workers, grid, rng)[mine] for _ in range(GLOBALS)]).to(self.device)
        whole_pixels = images.float().div_(255)
        pixels = [(render_views(whole_pixels, view, spec.size) - self._mean) / self._std
                  for view, spec in zip(views, recipe.view_specs(), strict=True)]  # fmt: skip
        whole, textures = self._draw_whole(whole_pixels, rng, mine, local * workers)
        groups = [torch.cat(pixels[:GLOBALS]), *([torch.cat(pixels[GLOBALS:])] if recipe.local_views else [])]
        temperature = recipe.temperature
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            with torch.no_grad():
                tokens = self.teacher.encode(groups[0])
                targets = balanced_assignments(self.teacher.cls_head(tokens[:, 0]).float(), temperature)
                teacher_logits, wanted = self._teacher_patches(tokens[:, self.teacher.prefix :], views, masks)
                patch_targets = [balanced_assignments(logits, temperature) for logits in teacher_logits]
            logits, patch_logits, told = self._student(groups, masks, wanted, whole)
        cls_loss = cls_cross_entropy(torch.split(targets, local), torch.split(logits.float(), local))
        patch_losses = [
            patch_cross_entropy(target, one.float(), chosen)
            for target, one, chosen in zip(patch_targets, patch_logits, wanted, strict=True)
        ]
        patch_loss = torch.stack(patch_losses).mean() if patch_losses else torch.zeros((), device=self.device)
        loss, texture_loss = cls_loss + patch_loss, torch.zeros((), device=self.device)
        if textures is not None:
            texture_loss = texture_distance(told, textures)
            parts = zip(TEXTURE_WEIGHTS, (cls_loss, patch_loss, texture_loss), strict=True)
            loss = torch.stack([weight * part for weight, part in parts]).sum()
        self._descend(loss)
        deviation = feature_deviation(self.teacher.free(tokens[:, self.teacher.prefix :]).flatten(0, 1))
        information = prototype_information(targets)
        return StepResult(*torch.stack([loss, cls_loss, patch_loss, texture_loss, deviation, information]).detach())

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(cast(Any, self.student.vit.vit.patch_embed).patch_size[0])

    def backbone(self) -> VisionTransformer:
        """Give the teacher's ViT, which is what the training is for."""
        vit: VisionTransformer = self.teacher.vit.vit
        return vit

    @torch.no_grad()
    def patch_tokens(self, images: Tensor) -> Tensor:
        """Encode whole images (uint8, shape [B, 3, S, S]): the teacher's patch tokens, float32, shape [B, g², dim]."""
        pixels = (images.float().div_(255) - self._mean) / self._std
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            tokens = self.teacher.encode(pixels)
        return tokens[:, self.teacher.prefix :].float()

    def state_dict(self) -> dict[str, Any]:
        """Give everything that the training needs to go on as if it had not been interrupted."""
        return {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "texture": None if self._texture is None else self._texture.state_dict(),
            "steps_done": self.steps_done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a training of the same recipe was."""
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._texture is not None:
            self._texture.load_state_dict(state["texture"])
        self.steps_done = state["steps_done"]

    def _draw_whole(
        self, images: Tensor, rng: np.random.Generator, mine: slice, batch: int
    ) -> tuple[Whole | None, Tensor | None]:
        """Mirror half of the images, choose the patches to show, and give these and their textures."""
        if self._texture is None:
            return None, None
        mirrored = torch.from_numpy(rng.random(batch) < 0.5)[mine].to(self.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        shown, hidden = draw_shown(batch, images.shape[-1] // self.patch_size, rng)
        shown, hidden = shown[mine].to(self.device), hidden[mine].to(self.device)
        every = self._texture(images)
        targets = torch.gather(every, 1, shown[..., None].expand(-1, -1, every.shape[-1]))
        return Whole((images - self._mean) / self._std, shown, hidden), targets

    def _teacher_patches(
        self, tokens: Tensor, views: Sequence[Views], masks: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Give the teacher's outputs for patches of each group of views, and say for which patches."""
        if self.teacher.patch_head is None:
            return [], []
        if masks is not None:
            return [self.teacher.patch_logits(tokens[masks.flatten(1)]).float()], [masks]
        targets, wanted = [], []
        first, second = tokens.chunk(GLOBALS)
        pairs = [(second, views[1], views[0]), (first, views[0], views[1])]
        pairs += [((first, second)[k % 2], views[k % 2], view) for k, view in enumerate(views[GLOBALS:])]
        for group, size in ((pairs[:GLOBALS], self.recipe.global_size), (pairs[GLOBALS:], self.recipe.local_size)):
            if not group:
                continue
            aligned = [align_patches(read.float(), of, to, size // self.patch_size) for read, of, to in group]
            vectors, seen = (torch.cat(parts) for parts in zip(*aligned, strict=True))
            targets.append(self.teacher.patch_logits(vectors[seen.flatten(1)]).float())
            wanted.append(seen)
        return targets, wanted

    def _descend(self, loss: Tensor) -> None:
        recipe, step = self.recipe, self.steps_done
        for group in self._optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at(step)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if step < recipe.warmup_steps:  # prototypes that move at once make a collapse likely
            for head in (self.student.cls_head, self.student.patch_head):
                if head is not None:
                    head.last_layer.zero_grad()
        nn.utils.clip_grad_norm_(self.student.parameters(), GRADIENT_NORM)
        self._optimiser.step()
        update_momentum(self.student, self.teacher, recipe.momentum_at(step))
        self.steps_done += 1

"""One step of self-supervised training: views, student, teacher, losses, optimiser. Needs neither Ray nor files.

A student sees all views of an image; a teacher, its running average, the two large ones. The student's CLS token tells
the teacher's prototypes of the other view (DINO, Caron et al., arXiv 2104.14294); its patches tell those of the
teacher's patches: hidden ones of the same view (iBOT, Zhou et al., arXiv 2111.07832), or, without hiding any, those of
the same place in the other view (as in DenseCL, Wang et al., arXiv 2011.09157, but with prototypes for negatives).
Heads and the masked transformer are lightly's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.modules.masked_vision_transformer_timm import MaskedVisionTransformerTIMM
from lightly.models.utils import get_weight_decay_parameters, update_momentum
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from datus2_ray.core.patch_alignment import align_patches, draw_masks
from datus2_ray.core.pretrain_health import feature_deviation, prototype_information
from datus2_ray.core.pretrain_model import Start
from datus2_ray.core.pretrain_recipe import Recipe
from datus2_ray.core.prototype_loss import balanced_assignments, cls_cross_entropy, patch_cross_entropy
from datus2_ray.core.views import Views, draw_boxes, draw_views, render_views

GLOBALS = 2

#: Largest norm of the gradient.
GRADIENT_NORM = 3.0


@dataclass(frozen=True)
class StepResult:
    """What a step shows of itself; scalars on the device, so that nobody has to wait for it.

    Parameters
    ----------
    loss, cls_loss, patch_loss : Tensor
        Mean over this worker's images; the first is the sum of the others.
    deviation, information : Tensor
        :func:`~datus2_ray.core.pretrain_health.feature_deviation` of the teacher's patches, and
        :func:`~datus2_ray.core.pretrain_health.prototype_information` of its CLS tokens.
    """

    loss: Tensor
    cls_loss: Tensor
    patch_loss: Tensor
    deviation: Tensor
    information: Tensor


class Encoder(nn.Module):
    """A ViT with two heads: prototypes of the CLS token and of the patches."""

    def __init__(self, vit: VisionTransformer, recipe: Recipe) -> None:
        super().__init__()
        self.vit = MaskedVisionTransformerTIMM(vit, weight_initialization="skip", pos_embed_initialization="skip")
        sizes = (vit.embed_dim, recipe.hidden_dim, recipe.bottleneck_dim, recipe.prototypes)
        self.cls_head = DINOProjectionHead(*sizes)
        self.patch_head = DINOProjectionHead(*sizes) if recipe.patch_objective != "none" else None
        self.vit.mask_token.requires_grad_(recipe.patch_objective == "masked")
        self.prefix = vit.num_prefix_tokens

    def forward(
        self, views: Sequence[Tensor], masks: Tensor | None, wanted: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode groups of views of one size each.

        Parameters
        ----------
        views : sequence of Tensor
            Normalised pixels, shape [V, 3, size, size].
        masks : Tensor, optional
            bool, shape [V, g, g], of the first group: patches to hide.
        wanted : sequence of Tensor
            For as many of the groups: bool [V, g, g], the patches whose prototypes are wanted.

        Returns
        -------
        cls : Tensor
            Logits of all views, shape [sum of V, prototypes].
        patches : list of Tensor
            Logits of the wanted patches of each group.
        """
        tokens = [self.encode(group, masks if number == 0 else None) for number, group in enumerate(views)]
        cls = self.cls_head(torch.cat([group[:, 0] for group in tokens]))
        patches = [
            cast(Any, self.patch_head)(group[:, self.prefix :][chosen.flatten(1)])
            for group, chosen in zip(tokens, wanted, strict=False)
        ]
        return cls, patches

    def encode(self, pixels: Tensor, masks: Tensor | None = None) -> Tensor:
        """Give all tokens after the final norm, shape [V, prefix + g², dim]."""
        if masks is not None:
            masks = nn.functional.pad(masks.flatten(1), (self.prefix, 0))
        tokens: Tensor = self.vit.encode(pixels, mask=masks)
        return tokens


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
            _attend_by_plain_products(self.student, self.teacher)
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
        shown = images.float().div_(255)
        pixels = [(render_views(shown, view, spec.size) - self._mean) / self._std
                  for view, spec in zip(views, recipe.view_specs(), strict=True)]  # fmt: skip
        groups = [torch.cat(pixels[:GLOBALS]), *([torch.cat(pixels[GLOBALS:])] if recipe.local_views else [])]
        temperature = recipe.temperature
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            with torch.no_grad():
                tokens = self.teacher.encode(groups[0])
                targets = balanced_assignments(self.teacher.cls_head(tokens[:, 0]).float(), temperature)
                teacher_logits, wanted = self._teacher_patches(tokens[:, self.teacher.prefix :], views, masks)
                patch_targets = [balanced_assignments(logits, temperature) for logits in teacher_logits]
            logits, patch_logits = self._student(groups, masks, wanted)
        cls_loss = cls_cross_entropy(torch.split(targets, local), torch.split(logits.float(), local))
        patch_losses = [
            patch_cross_entropy(target, told.float(), chosen)
            for target, told, chosen in zip(patch_targets, patch_logits, wanted, strict=True)
        ]
        patch_loss = torch.stack(patch_losses).mean() if patch_losses else torch.zeros((), device=self.device)
        loss = cls_loss + patch_loss
        self._descend(loss)
        deviation = feature_deviation(tokens[:, self.teacher.prefix :].flatten(0, 1))
        return StepResult(
            loss.detach(), cls_loss.detach(), patch_loss.detach(), deviation, prototype_information(targets)
        )

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
            "steps_done": self.steps_done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a training of the same recipe was."""
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.steps_done = state["steps_done"]

    def _teacher_patches(
        self, tokens: Tensor, views: Sequence[Views], masks: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Give the teacher's outputs for patches of each group of views, and say for which patches."""
        head: Any = self.teacher.patch_head
        if self.recipe.patch_objective == "none":
            return [], []
        if masks is not None:
            return [head(tokens[masks.flatten(1)]).float()], [masks]
        targets, wanted = [], []
        first, second = tokens.chunk(GLOBALS)
        pairs = [(second, views[1], views[0]), (first, views[0], views[1])]
        pairs += [((first, second)[k % 2], views[k % 2], view) for k, view in enumerate(views[GLOBALS:])]
        for group, size in ((pairs[:GLOBALS], self.recipe.global_size), (pairs[GLOBALS:], self.recipe.local_size)):
            if not group:
                continue
            aligned = [align_patches(read.float(), of, to, size // self.patch_size) for read, of, to in group]
            vectors, seen = (torch.cat(parts) for parts in zip(*aligned, strict=True))
            targets.append(head(vectors[seen.flatten(1)]).float())
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


def _attend_by_plain_products(*encoders: Encoder) -> None:
    """Leave torch's fused attention alone: in bfloat16 on a CPU its backward pass takes longer than all other products.

    With views of 81 patches a step took 0.61 s with it and 0.39 s without, on two cores that multiply bfloat16.
    """
    for encoder in encoders:
        blocks: Any = encoder.vit.vit.blocks
        for block in blocks:
            block.attn.fused_attn = False

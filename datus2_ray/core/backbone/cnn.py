"""The frozen ResNet that can describe a segment's crop: from uint8 crops to one vector each.

DatUS² compares it with the transformer's CLS token, as a MoCo-v2 ResNet-50 (He et al., 2020; Chen et al., 2020).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from datus2_ray.core.backbone.architecture import Architecture, Family, load_timm
from datus2_ray.core.backbone.names import StateDict
from datus2_ray.core.backbone.spec import parse_spec
from datus2_ray.core.images.normalise import Normalisation
from datus2_ray.errors import BackboneError

# Blocks per stage, and whether a block has three convolutions: what distinguishes the ResNets of He et al. (2016).
RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}


def infer_resnet(state: StateDict, label: str, known: Mapping[str, Any]) -> Architecture:
    """Return which of :data:`RESNETS` a state dict of timm, torchvision, DINO or MoCo belongs to; all is in it.

    Raises
    ------
    BackboneError
        If it is none of them.
    """
    found = {(int(m[1]), int(m[2])) for key in state if (m := re.match(r"layer(\d)\.(\d+)\.", key))}
    blocks = tuple(sum(stage == wanted for stage, _ in found) for wanted in (1, 2, 3, 4))
    name = RESNETS.get((blocks, "layer1.0.conv3.weight" in state))
    if name is None:
        raise BackboneError(
            f"the keys of {label} are not those of a ResNet ({', '.join(list(state)[:4])}, ...); "
            f"name it as {label}::TIMM_NAME or in a JSON beside it"
        )
    return Architecture(name)


RESNET = Family("ResNet", "--set discover.cnn=", ("resnet",), infer_resnet)


class CNN:
    """A frozen ResNet in evaluation mode, with the preprocessing that it was trained with; from :func:`load_cnn`.

    A crop's vector does not depend on its batch: bitwise on a CPU in float32.

    Attributes
    ----------
    name : str
        The timm name, ``untrained:NAME``, or the file's name.
    dim, input_size : int
        Length of a vector, and side of the square crop that it sees in pixels.
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
    ) -> None:
        self.name = name
        self.model = model
        self.dim: int = model.num_features
        self.mean, self.std = normalisation.mean, normalisation.std
        self.device = normalisation.device
        self.input_size = input_size
        self.trained = trained
        self._normalisation = normalisation
        self._dtype = dtype

    def embed(self, pixels: Tensor) -> Tensor:
        """Compute the globally average-pooled features of a batch of crops.

        Parameters
        ----------
        pixels : Tensor
            uint8 RGB, shape (B, H, W, 3), on any device.

        Returns
        -------
        Tensor
            float32, shape (B, dim), on the CNN's device, not normalised.
        """
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self._dtype == "bfloat16")
        with torch.inference_mode(), autocast:
            maps = self.model.forward_features(self._normalisation(pixels))
            pooled: Tensor = self.model.forward_head(maps, pre_logits=True)
        return pooled.float()


def load_cnn(spec: str, device: str = "cpu", *, dtype: Literal["float32", "bfloat16"] = "float32") -> CNN:
    """Load a ResNet for crops, and leave the global random state as it was.

    Parameters
    ----------
    spec : str
        A timm name, whose weights come from the hub (most of timm's are supervised: that is the caller's choice); a
        file, for example of MoCo-v2 or DINO; ``FILE::TIMM_NAME``; or ``untrained:TIMM_NAME``.
    dtype : str
        ``float32``, or ``bfloat16`` for autocast. The vectors are float32 in both.

    Raises
    ------
    BackboneError
        If the model is unknown or not a ResNet, or if its weights cannot be fetched or read or do not fit.
    """
    parsed = parse_spec(spec)
    loaded = load_timm(parsed, RESNET)
    known: Any = loaded.model.pretrained_cfg
    return CNN(
        parsed.label,
        loaded.model.to(device),
        Normalisation(loaded.mean, loaded.std, torch.device(device)),
        input_size=loaded.input_size or (224 if parsed.file else known["input_size"][-1]),
        trained=loaded.trained,
        dtype=dtype,
    )

"""What a segmenter's encoder starts from: nothing, a file, a self-supervised timm model, or supervised weights."""

from __future__ import annotations

from collections.abc import Sequence

import segmentation_models_pytorch as smp
import torch

from datus2_ray.core.backbone import spec as backbone_spec
from datus2_ray.core.backbone.architecture import Family, load_timm
from datus2_ray.core.backbone.cnn import infer_resnet
from datus2_ray.core.backbone.weights import fit_weights
from datus2_ray.core.refine.deeplab import DeepLabV3Segmenter
from datus2_ray.errors import BackboneError

RANDOM = "random"
SUPERVISED = "supervised"

ENCODER = Family("ResNet", "--set refine.encoder_start=", ("resnet",), infer_resnet)


def start_encoder(segmenter: DeepLabV3Segmenter, start: str) -> bool:
    """Load the weights that the encoder starts from: all of them or, with an error, none.

    Parameters
    ----------
    segmenter : DeepLabV3Segmenter
        Changed in place; its mean and standard deviation become those that the weights were trained with.
    start : str
        ``random`` (keeps the encoder as it is), a weights file of a ResNet (torch or safetensors; MoCo-v2 and DINO
        checkpoints as they are published), the name of a timm ResNet with pretrained weights, or ``supervised``
        (segmentation-models-pytorch's ImageNet weights).

    Returns
    -------
    bool
        Whether the weights are known to be trained with labels; of a file that is not known.

    Raises
    ------
    BackboneError
        If there is no such file or model, the hub cannot be reached, or the weights do not fit.
    """
    if start == RANDOM:
        return False
    if start == SUPERVISED:
        _load_supervised(segmenter)
        return True
    spec = backbone_spec.parse_spec(start)
    loaded = load_timm(spec, ENCODER)
    weights = {key: value for key, value in loaded.model.state_dict().items() if not key.startswith("fc.")}
    try:
        fit_weights(segmenter.network.get_submodule("encoder"), weights, spec.label)
    except BackboneError as error:
        misfit = str(error).split(";")[0]
        raise BackboneError(
            f"{misfit}; refine.encoder is {segmenter.spec.encoder}, set it to the ResNet that the weights are of"
        ) from error
    _normalise(segmenter, loaded.mean, loaded.std)
    return backbone_spec.is_supervised(spec)


def fingerprint(start: str) -> str:
    """Return a name of a start's weights: of a file by its content, of a name by the library that resolves it."""
    if start == RANDOM:
        return start
    return f"{start} smp={smp.__version__}" if start == SUPERVISED else backbone_spec.fingerprint(start)


def label(start: str) -> str:
    """Return the name of a start in reports: of a file without its folders."""
    return start if start in (RANDOM, SUPERVISED) else backbone_spec.parse_spec(start).label


def _load_supervised(segmenter: DeepLabV3Segmenter) -> None:
    spec = segmenter.spec
    try:
        encoder = smp.encoders.get_encoder(spec.encoder, weights="imagenet", output_stride=spec.output_stride)
        published = smp.encoders.get_preprocessing_params(spec.encoder, "imagenet")
    except Exception as error:  # the hub's client raises the errors of several libraries
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BackboneError(
            f"the supervised weights of {spec.encoder} could not be fetched from the model hub ({reason}); leave "
            "refine.encoder_start at random, or give a file"
        ) from error
    segmenter.network.get_submodule("encoder").load_state_dict(encoder.state_dict())
    _normalise(segmenter, published["mean"], published["std"])


def _normalise(segmenter: DeepLabV3Segmenter, mean: Sequence[float], std: Sequence[float]) -> None:
    segmenter.mean.copy_(torch.tensor(mean).view(1, 3, 1, 1))
    segmenter.std.copy_(torch.tensor(std).view(1, 3, 1, 1))

"""A segmenter that is one linear layer on the patch tokens of a frozen backbone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from datus2_ray.core.backbone.vit import Backbone, Tap
from datus2_ray.errors import BackboneError

TOKEN = Tap("token")


@dataclass(frozen=True)
class TokenSegmenterSpec:
    """What a token segmenter is made of, apart from its weights and its backbone.

    Parameters
    ----------
    dim : int
        Length of a patch token.
    classes : int
        Number of clusters K.
    size : int
        Side of the square images that it is trained on, in pixels; a multiple of the patch size.
    """

    dim: int
    classes: int
    size: int


class TokenSegmenter(nn.Module):
    """Classify patch tokens by a linear layer, which starts at zero, after they are brought to mean 0 and variance 1.

    The same place in the feature space gets the same class in every image: what the graph of one image or a cluster's
    odd shape gave to single segments is evened out, and nothing is to be learnt from pixels, so that some hundred steps
    are enough. The backbone is no part of its state: only the layer is trained, copied and saved.

    Parameters
    ----------
    backbone : Backbone, optional
        Computes the tokens, of length ``spec.dim``, on the device that the layer is moved to. Without it the layer can
        be saved but takes no images.

    Raises
    ------
    BackboneError
        If the backbone's tokens have another length, or the image size is no multiple of its patch size.

    References
    ----------
    He et al., "Masked Autoencoders Are Scalable Vision Learners", arXiv 2111.06377 (2021), appendix A.1, for the linear
    layer behind a normalisation without weights.
    """

    def __init__(self, spec: TokenSegmenterSpec, backbone: Backbone | None = None) -> None:
        super().__init__()
        if backbone is not None:
            check_size(backbone.patch_size, spec.size)
            if backbone.dim != spec.dim:
                raise BackboneError(
                    f"the segmenter reads tokens of length {spec.dim}, those of {backbone.name} have {backbone.dim}; "
                    "give the backbone that it was trained with, or refine again"
                )
        self.spec = spec
        self.normalisation = nn.BatchNorm2d(spec.dim, affine=False)
        self.layer = nn.Conv2d(spec.dim, spec.classes, 1)
        for parameter in self.layer.parameters():
            nn.init.zeros_(parameter)
        self._backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits of the patches, bilinearly upsampled to the images' size: float [B, K, h, w].

        Parameters
        ----------
        images : Tensor
            uint8 RGB, shape [B, 3, h, w].

        Raises
        ------
        BackboneError
            If a side is no multiple of the patch size.
        TypeError
            If there is no backbone.
        """
        if self._backbone is None:
            raise TypeError("a token segmenter without a backbone takes no images")
        height, width = images.shape[-2:]
        grid = self._backbone.grid(height, width)
        tokens = self._backbone.extract(images.permute(0, 2, 3, 1), [TOKEN])[TOKEN]
        logits = self.layer(self.normalisation(tokens.transpose(1, 2).reshape(len(images), self.spec.dim, *grid)))
        return functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)


def check_size(patch: int, size: int) -> None:
    """Raise a BackboneError if the side of the images is no multiple of the patch size; both in pixels."""
    if size % patch:
        nearest = max(patch, round(size / patch) * patch)
        raise BackboneError(f"images of {size} pixels do not fit the patch of {patch}; give refine.size={nearest}")

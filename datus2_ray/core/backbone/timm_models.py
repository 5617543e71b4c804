"""What the project uses of timm, imported in two thirds of the time that ``import timm`` takes."""

from __future__ import annotations

from datus2_ray.core.quick_import import quick_import

with quick_import():
    import timm
    from timm.layers.norm import LayerNorm
    from timm.models import eva, vision_transformer

__all__ = ["LayerNorm", "eva", "timm", "vision_transformer"]

"""Residual networks: resnet18, resnet34, resnet50 and resnet101.

The classifier and its pooling are left out; what remains maps images to a feature map.
A last stride of 1 keeps the fourth stage at the resolution of the third, so that the map
has four times the cells; person re-identification gains from that at little cost.

Reference: He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385;
last stride: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071, section 3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import BackboneComponent, Params, PathText, hookimpl

if TYPE_CHECKING:
    from reid_plugins.backbone._resnet import ResNet

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101")


class ResNetParams(Params):
    """Params of the residual networks."""

    last_stride: Literal[1, 2] = Field(
        default=1, description="Stride of the fourth stage: 1 or 2; 1 doubles the map's sides."
    )
    pretrained: Literal["imagenet", "none"] = Field(
        default="imagenet",
        description='"imagenet": torchvision\'s IMAGENET1K_V1 weights; "none": random weights.',
    )
    weights_file: PathText | None = Field(
        default=None,
        description="Path of a .safetensors or state-dict file with torchvision's key names, "
        'read instead of "pretrained"; null for none. State dicts inside a checkpoint and prefixes '
        'such as "module." and "base." are unwrapped; a classifier beside is left out, and said.',
    )


def component(name: str) -> BackboneComponent:
    """Return the component of one depth; ``name`` is torchvision's name of the network."""

    def build(params: ResNetParams) -> ResNet:
        from reid_plugins.backbone._resnet import build_resnet

        return build_resnet(
            name,
            last_stride=params.last_stride,
            pretrained=params.pretrained == "imagenet",
            weights_file=params.weights_file,
        )

    return BackboneComponent(
        name=name,
        params=ResNetParams,
        build=build,
        summary=f"Residual network of {name.removeprefix('resnet')} layers, from torchvision",
        reference="arXiv:1512.03385",
    )


@hookimpl
def reid_backbone() -> list[BackboneComponent]:
    """Offer the four depths."""
    return [component(name) for name in NAMES]

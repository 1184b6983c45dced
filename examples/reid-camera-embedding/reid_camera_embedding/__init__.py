"""The backbone `camera_vit`: a small vision transformer that is told the camera of each image.

A camera has its own light, colours and view. A learned vector for each camera, added to all tokens
before the first block, lets the network take that away. It is zero for a camera that is not known,
or that the training did not have.

Reference: Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv:2010.11929; the side
information embedding (SIE) of the camera: He et al., "TransReID", arXiv:2102.04378, section 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from reid_core import BackboneComponent, Params, hookimpl

if TYPE_CHECKING:
    from reid_camera_embedding._network import CameraViT


class CameraViTParams(Params):
    """Params of the backbone `camera_vit`."""

    patch: int = Field(
        default=16, ge=1, description="Side of a patch in pixels, from 1; it divides the input's."
    )
    dim: int = Field(default=96, ge=1, description="Size of a token, from 1.")
    blocks: int = Field(default=3, ge=1, description="Transformer blocks, from 1.")
    attention_heads: int = Field(default=4, ge=1, description="Heads of the attention, from 1.")
    camera_weight: float = Field(
        default=3.0,
        ge=0.0,
        description="Factor on the vector of the camera, from 0; 3 in the paper. 0: not told.",
    )

    @model_validator(mode="after")
    def _check(self) -> CameraViTParams:
        if self.dim % self.attention_heads:
            raise ValueError(
                f"dim: {self.dim} values cannot be shared by {self.attention_heads} attention "
                "heads; use a multiple"
            )
        return self


def side(params: CameraViTParams) -> tuple[str, ...]:
    """Return what the network looks at beside the image."""
    return ("camid",) if params.camera_weight else ()


def build(
    params: CameraViTParams, *, input_size: tuple[int, int], side_values: Mapping[str, int]
) -> CameraViT:
    """Build the network for images of one size and the cameras of the training."""
    from reid_camera_embedding._network import CameraViT

    return CameraViT(
        input_size,
        patch=params.patch,
        dim=params.dim,
        blocks=params.blocks,
        attention_heads=params.attention_heads,
        cameras=side_values.get("camid"),
        camera_weight=params.camera_weight,
    )


@hookimpl
def reid_backbone() -> list[BackboneComponent]:
    """Offer the transformer."""
    return [
        BackboneComponent(
            name="camera_vit",
            params=CameraViTParams,
            build=build,
            summary="Small vision transformer that is told the camera of each image",
            reference="arXiv:2102.04378",
            side=side,
        )
    ]

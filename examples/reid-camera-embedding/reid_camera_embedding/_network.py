"""The module of the backbone `camera_vit`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reid_core import ReidError
from reid_core.contracts import FeatureMap


class Tokens(nn.Module):
    """Turns images and their cameras into tokens: a class token and one for each patch."""

    def __init__(
        self, grid: tuple[int, int], *, patch: int, dim: int, cameras: int | None, weight: float
    ) -> None:
        """Prepare for a grid of patches; ``cameras`` None: it is not told any."""
        super().__init__()
        self.weight = weight
        self.patches = nn.Conv2d(3, dim, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], dim))
        # The last row is for the unknown camera: zero, and it stays so.
        self.cameras = (
            None if cameras is None else nn.Embedding(cameras + 1, dim, padding_idx=cameras)
        )
        for values in (self.class_token, self.positions):
            nn.init.trunc_normal_(values, std=0.02)
        if self.cameras is not None:
            nn.init.trunc_normal_(self.cameras.weight, std=0.02)
            with torch.no_grad():
                self.cameras.weight[-1].zero_()

    def forward(self, images: Tensor, side: Mapping[str, Tensor]) -> Tensor:
        """Map images ``(B, 3, H, W)`` and ``side["camid"] (B,)`` to ``(B, 1 + h w, dim)``."""
        patches = self.patches(images).flatten(2).mT
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1)
        tokens = tokens + self.positions
        if self.cameras is None:
            return tokens
        camids = side["camid"]
        rows = torch.where(camids < 0, self.cameras.num_embeddings - 1, camids)
        return tokens + self.weight * self.cameras(rows)[:, None]


class CameraViT(nn.Module):
    """A vision transformer on a fixed grid of patches.

    Attributes:
        out_channels: Size of a token.
        stride: Side of a patch in pixels.
    """

    def __init__(
        self,
        input_size: tuple[int, int],
        *,
        patch: int,
        dim: int,
        blocks: int,
        attention_heads: int,
        cameras: int | None,
        camera_weight: float,
    ) -> None:
        """Prepare for images of one size in pixels; the others are those of the params.

        Raises:
            ReidError: The patches do not fill the images.
        """
        super().__init__()
        if input_size[0] % patch or input_size[1] % patch:
            raise ReidError(
                f"backbone 'camera_vit': patches of {patch} pixels do not fill images of "
                f"{input_size[0]} x {input_size[1]} pixels; change 'patch' or 'resize'"
            )
        self.input_size, self.out_channels, self.stride = input_size, dim, patch
        grid = (input_size[0] // patch, input_size[1] // patch)
        self.tokens = Tokens(grid, patch=patch, dim=dim, cameras=cameras, weight=camera_weight)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, attention_heads, 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(dim)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The network in order, from name to module."""
        blocks = {f"block{i}": block for i, block in enumerate(self.blocks, 1)}
        return {"tokens": self.tokens, **blocks, "norm": self.norm}

    def forward(self, images: Tensor, side: Mapping[str, Tensor]) -> FeatureMap:
        """Map images ``(B, 3, H, W)`` to a map ``(B, dim, h, w)`` and a token ``(B, 1, dim)``.

        Args:
            images: Normalised, of the input size.
            side: ``camid (B,)`` int64, a camera of the training or -1; empty if it is not told.

        Raises:
            ReidError: The images are of another size.
        """
        if tuple(images.shape[2:]) != self.input_size:
            raise ReidError(
                f"backbone 'camera_vit' takes images of {self.input_size[0]} x "
                f"{self.input_size[1]} pixels, got {images.shape[2]} x {images.shape[3]}"
            )
        x = self.tokens(images, side)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        height, width = (pixels // self.stride for pixels in self.input_size)
        return FeatureMap(x[:, 1:].mT.unflatten(2, (height, width)), tokens=x[:, :1])

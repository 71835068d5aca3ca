"""Masked autoencoder (MAE): reconstructs the hidden patches of an image from the few that are visible.

The encoder, a transformer, sees the visible patches only; a smaller one receives their codes, with a learned vector in
place of each hidden patch, and predicts the pixels of the hidden patches.

He, Chen, Xie, Li, Dollár & Girshick, Masked Autoencoders Are Scalable Vision Learners, CVPR 2022 (arXiv:2111.06377).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model, Shape
from genlab.errors import ConfigError
from genlab.nn.networks.conditioned.dit import positions
from genlab.nn.networks.transformer import Transformer, image_of, patches_of
from genlab.registry import MODELS, OpenFraction, PositiveInt


@MODELS("mae")
class MAE(Model):
    """Patches are squares of `patch` pixels; `mask_fraction` of them are hidden from the encoder."""

    positions: Tensor
    decoder_positions: Tensor

    def __init__(
        self,
        image_shape: Shape,
        patch: PositiveInt = 4,
        mask_fraction: OpenFraction = 0.75,
        width: PositiveInt = 128,
        layers: PositiveInt = 4,
        heads: PositiveInt = 4,
        decoder_width: PositiveInt = 64,
        decoder_layers: PositiveInt = 2,
    ) -> None:
        super().__init__()
        channels, height, across = image_shape
        rows, columns = -(-height // patch), -(-across // patch)
        if rows * columns < 2:
            raise ConfigError(f"an image of {height}x{across} pixels has one patch of {patch}", "key model.patch",
                              "use smaller patches: model.patch=2")  # fmt: skip
        self.patch, self.latent_dim, self.sides = patch, width, (height, across)
        self.visible = min(max(1, round((1 - mask_fraction) * rows * columns)), rows * columns - 1)
        self.embedding = nn.Linear(channels * patch**2, width)
        self.encoder = Transformer(width, layers, heads)
        self.bridge = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(decoder_width))
        self.decoder = Transformer(decoder_width, decoder_layers, heads)
        self.pixels = nn.Linear(decoder_width, channels * patch**2)
        for name, dim in (("positions", width), ("decoder_positions", decoder_width)):
            self.register_buffer(name, positions(rows, columns, dim, like=self.mask_token.detach()), persistent=False)

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """`loss`: squared error of pixels in [0, 1], summed over the hidden patches; `pixel_error`: its mean.

        Both count the zeros that extend an image whose sides are not multiples of `patch`.
        """
        patches = patches_of(image, self.patch)
        n, count, size = patches.shape
        visible = rng.uniform(n, count, like=image).argsort(1)[:, : self.visible]
        code = self.encoder(self.tokens(patches).gather(1, _rows(visible, self.latent_dim)))
        known = self.bridge(code)
        blank = self.mask_token.to(known.dtype).expand(n, count, -1)
        predicted = self.predict(blank.scatter(1, _rows(visible, known.shape[2]), known))
        hidden = torch.ones(n, count, device=image.device).scatter(1, visible, 0.0)
        error = ((predicted - patches).square().sum(2) * hidden).sum(1).mean()
        return {"loss": error, "pixel_error": error.detach() / ((count - self.visible) * size)}

    def tokens(self, patches: Tensor) -> Tensor:
        """Patches (N, L, C · patch²) as tokens (N, L, width), with their positions added."""
        embedded: Tensor = self.embedding(patches) + self.positions
        return embedded

    def predict(self, tokens: Tensor) -> Tensor:
        """The pixels of all patches, float32 (N, L, C · patch²), from tokens (N, L, decoder_width)."""
        predicted: Tensor = self.pixels(self.decoder(tokens + self.decoder_positions)).float()
        return predicted

    def encode(self, image: Tensor) -> Tensor:
        """The mean of the tokens of a whole image, (N, width)."""
        code: Tensor = self.encoder(self.tokens(patches_of(image, self.patch))).float().mean(1)
        return code

    def inpaint(self, image: Tensor, mask: Tensor) -> Tensor:
        """Images whose pixels in `mask` (N, 1, H, W) are predicted; a patch with any such pixel counts as hidden."""
        visible = ~(patches_of(mask.float(), self.patch) > 0).any(2)
        code = self.bridge(self.encoder(self.tokens(patches_of(image, self.patch)), _at_least_one(visible)))
        predicted = self.predict(torch.where(visible[:, :, None], code, self.mask_token.to(code.dtype)))
        return torch.where(mask, image_of(predicted, self.patch, *self.sides).clamp(0, 1), image)


def _rows(indices: Tensor, width: int) -> Tensor:
    """Indices of tokens (N, K) as those of their `width` numbers, (N, K, width)."""
    return indices[:, :, None].expand(-1, -1, width)


def _at_least_one(visible: Tensor) -> Tensor:
    """The same (N, L), but the first patch where none is visible: attention to nothing is undefined."""
    first = torch.zeros_like(visible)
    first[:, 0] = True
    return visible | (first & ~visible.any(1, keepdim=True))

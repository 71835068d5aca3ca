"""What tests of the extra `features` need: the package with the weights, or a skip that names it; photographs."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from genlab.nn.pretrained.efficientnet_lite0 import WEIGHTS

needs_efficientnet = pytest.mark.skipif(
    find_spec(WEIGHTS.package) is None, reason=f"no weights of EfficientNet-Lite0: {WEIGHTS.install}"
)


def photographs(side: int) -> Tensor:
    """A palace and a flower, that come with scikit-learn: the central squares, (2, 3, side, side) in [0, 1]."""
    from sklearn.datasets import load_sample_images

    images = torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2).float() / 255
    edge = (images.shape[3] - images.shape[2]) // 2
    square = images[..., edge : edge + images.shape[2]]
    return interpolate(square, (side, side), mode="bicubic", antialias=True).clamp(0, 1)


def crops(n: int, side: int) -> Tensor:
    """n squares of half the photographs' size at random places, (n, 3, side, side) in [0, 1]."""
    whole, generator = photographs(2 * side), torch.Generator().manual_seed(0)
    places = torch.randint(0, side + 1, (n, 2), generator=generator).tolist()
    return torch.stack([whole[i % 2, :, y : y + side, x : x + side] for i, (y, x) in enumerate(places)])

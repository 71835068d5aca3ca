"""Features of the Inception v3 by which the Fréchet Inception distance is defined, from a local file.

Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, NeurIPS 2017
(arXiv:1706.08500). The weights are those of TensorFlow's 2015 graph, of 1,008 classes, as PyTorch ports hold them:
`pt_inception-2015-12-05-6726825d.pth`, 91 MB. Its blocks differ from torchvision's in their pooling branches alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

from genlab.errors import DataError, first_line
from genlab.evaluation.extraction import in_parts, resized
from genlab.registry import EXTRACTORS
from genlab.utils.files import file_sha256, size_text
from genlab.utils.paths import data_roots

FOLDER = "inception"
FILES = ("pt_inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.safetensors")
SIDE, CLASSES = 299, 1008
LONGEST = 2**28  # bytes: the weights take 96 MB


def weights_file() -> Path | None:
    """Where the weights lie, if they are there."""
    places = (root / FOLDER / name for root in data_roots(None) for name in FILES)
    return next((path for path in places if path.is_file()), None)


def expected_path() -> Path:
    """The path at which the weights are looked for first."""
    return data_roots(None)[0] / FOLDER / FILES[0]


@EXTRACTORS("inception")
class Inception(nn.Module):
    """2,048 features: the mean over places of the last block."""

    name, resize = "inception", "299 px, antialiased bicubic; gray images in three equal channels"
    channels = (1, 3)

    def __init__(self) -> None:
        super().__init__()
        path = weights_file()
        if path is None:
            raise DataError(
                f"Inception's weights {FILES[0]} are missing",
                "key extractor",
                f"put them at {expected_path()} (GENLAB_DATA, else GENLAB_CACHE/data)",
            )
        if path.stat().st_size > LONGEST:
            raise DataError(
                f"{path} is too long for Inception's weights", f"at most {size_text(LONGEST)}", "fetch it again"
            )
        self.digest = file_sha256(path)
        self.network = network(_read(path), path).to(memory_format=torch.channels_last)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in [0, 1] to features (N, 2048)."""
        return in_parts(lambda part: self.network(to_input(part.float())), images)


def to_input(images: Tensor) -> Tensor:
    """Images (N, 1 or 3, H, W) in [0, 1] as (N, 3, 299, 299) in [-1, 1]."""
    return (2 * resized(images, SIDE) - 1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    except Exception as error:  # pickle, zip and safetensors raise several kinds on a damaged or hostile file
        text = f"{type(error).__name__}: {first_line(error, 80)}"
        raise DataError(f"{path} holds no weights", text, "fetch it again") from None


def network(weights: dict[str, Tensor], path: Path) -> nn.Module:
    """torchvision's Inception v3 with the FID's pooling, up to its features; DataError if `weights` do not fit."""
    from torchvision.models import inception_v3

    found = inception_v3(weights=None, num_classes=CLASSES, aux_logits=False, init_weights=False)
    try:
        found.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        text = str(error).splitlines()[-1].strip()[:80]
        raise DataError(f"{path} holds weights of another network", text, f"fetch {FILES[0]}") from None
    for name, block in found.named_children():
        if name.startswith("Mixed_"):
            _repool(block, "max" if name == "Mixed_7c" else "mean")
    found.fc = nn.Identity()
    found.eval()  # before dropout could draw anything
    return found


def _repool(block: Any, kind: str) -> None:
    """The pooling branch of a block as in TensorFlow: a mean that leaves the border's padding out, or the maximum."""
    if not hasattr(block, "branch_pool"):
        return
    convolution = block.branch_pool
    block.branch_pool = nn.Identity()
    forward = block._forward

    def repooled(x: Tensor) -> list[Tensor]:
        # the block's last branch is the pooled one: here of its own pooling, which the identity lets through
        pooled = max_pool2d(x, 3, 1, 1) if kind == "max" else avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return [*forward(x)[:-1], convolution(pooled)]

    block._forward = repooled
    block.add_module("pool_convolution", convolution)

"""The plane of a two-dimensional code, as a picture. Kingma & Welling 2014, figure 4."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from genlab.core.model import Decodes, HasPrior, ImportanceSampled, Model
from genlab.core.values import Value
from genlab.registry import EVALUATORS, Count, Duration
from genlab.reports.grid import are_pictures, image_grid

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("manifold")
class Manifold:
    """Images decoded on a grid that the normal prior fills evenly: Φ⁻¹((i + ½) / side) along both axes."""

    split: str | None = None

    def __init__(self, side: Count = 20, every: Duration | None = "20%") -> None:
        self.side = side
        self.every = every

    def applies(self, model: Model) -> bool:
        # a model that weighs codes against a normal prior; a label in its code would need a choice
        normal = isinstance(model, ImportanceSampled) and isinstance(model, HasPrior) and isinstance(model, Decodes)
        return normal and getattr(model, "latent_dim", 0) == 2 and not model.conditions

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert isinstance(model, Decodes)
        assert isinstance(model, HasPrior)
        like = model.prior(1)
        axis = torch.special.ndtri((torch.arange(self.side, device=like.device) + 0.5) / self.side)
        down, across = torch.meshgrid(axis.flip(0), axis, indexing="ij")  # z_2 grows upwards
        codes = torch.stack([across, down], -1).flatten(0, 1)
        images = torch.cat([model.decode(part) for part in codes.split(256)])
        if are_pictures(images):
            yield "manifold", image_grid(images, self.side, gap=0)

    def protocol(self) -> dict[str, Any]:
        return {"side": self.side, "axes": "quantiles of the standard normal"}

"""Images decoded over the plane of a two-dimensional code. Kingma & Welling 2014, figure 4."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from genlab.core.evaluator import Evaluator
from genlab.core.model import Decodes, HasPrior, ImportanceSampled, Model
from genlab.core.values import Value
from genlab.registry import EVALUATORS, Count, Duration
from genlab.reports.grid import are_images, image_grid


@EVALUATORS("manifold")
@dataclass
class Manifold(Evaluator):
    """Images decoded on a grid of equal prior mass: Φ⁻¹((i + ½) / side) along both axes of a normal prior."""

    side: Count = 20
    every: Duration | None = "20%"

    split = None
    needs = (ImportanceSampled, HasPrior, Decodes)  # importance weights imply a normal prior
    notes = {"axes": "quantiles of the standard normal"}

    def applies(self, model: Model) -> bool:
        return super().applies(model) and getattr(model, "latent_dim", 0) == 2 and not model.conditions

    def run(self, model: Any, split: None) -> Iterator[tuple[str, Value]]:
        like = model.prior(1)
        axis = torch.special.ndtri((torch.arange(self.side, device=like.device) + 0.5) / self.side)
        down, across = torch.meshgrid(axis.flip(0), axis, indexing="ij")  # z_2 grows upwards
        codes = torch.stack([across, down], -1).flatten(0, 1)
        images = torch.cat([model.decode(part) for part in codes.split(256)])
        if are_images(images):
            yield "manifold", image_grid(images, self.side, gap=0)

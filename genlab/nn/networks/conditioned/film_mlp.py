"""Fully connected network with conditions: residual layers that are scaled and shifted by time, class or a vector."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from genlab.nn.layers.conditions import NONE, ConditionEmbedding, Conditions, FiLM, zeroed
from genlab.nn.layers.shapes import Size, volume
from genlab.registry import NETWORKS, PositiveInt


@NETWORKS("film_mlp")
class FiLMMLP(nn.Module):
    """Vectors or images of any size; `layers` residual layers of `width`, each FiLM(linear(SiLU(norm(x)))).

    The conditions are embedded in `width` numbers. The output is zero at first.
    """

    def __init__(
        self,
        inp: Size,
        out: Size,
        conditions: Conditions = NONE,
        width: PositiveInt = 256,
        layers: PositiveInt = 4,
    ) -> None:
        super().__init__()
        self.shape = (out,) if isinstance(out, int) else out
        self.embedding = ConditionEmbedding(conditions, width)
        self.first = nn.Linear(volume(inp), width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.films = nn.ModuleList(FiLM(width, width) for _ in range(layers))
        self.last = zeroed(nn.Linear(width, volume(out)))

    def forward(
        self, x: Tensor, time: Tensor | None = None, label: Tensor | None = None, code: Tensor | None = None
    ) -> Tensor:
        embedding = self.embedding(x, time, label, code)
        x = self.first(x.flatten(1))
        for norm, linear, film in zip(self.norms, self.linears, self.films, strict=True):
            x = x + film(linear(F.silu(norm(x))), embedding)
        result: Tensor = self.last(F.silu(x)).reshape(-1, *self.shape)
        return result

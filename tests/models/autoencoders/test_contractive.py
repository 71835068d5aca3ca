"""The contractive autoencoder's loss and its configuration; the norms themselves: tests/nn/losses/test_jacobian.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.autograd.functional import jacobian

from genlab.errors import ConfigError
from tests.support.models import AUTOENCODER_SHAPE, autoencoder

ONE_LAYER = {"network": {"name": "mlp", "hidden": []}, "code": "sigmoid"}


def test_the_penalty_is_the_squared_norm_of_the_jacobian() -> None:
    model, image = autoencoder("contractive_ae", penalty_weight=0.3, **ONE_LAYER), torch.rand(2, *AUTOENCODER_SHAPE)
    values = model.loss(image)
    norms = [jacobian(model.encoder, x[None]).square().sum() for x in image]
    torch.testing.assert_close(values["penalty"], torch.stack(norms).mean())
    torch.testing.assert_close(values["loss"], values["reconstruction"] + 0.3 * values["penalty"])


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"estimate": "exact"}, r"model\.estimate=hutchinson"),
        ({"estimate": "hutchinson", "network": {"name": "conv", "channels": [2]}}, r"batch norm.*network\.norm=none"),
    ],
)
def test_an_encoder_without_such_a_norm_is_refused(changes: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        autoencoder("contractive_ae", **changes)

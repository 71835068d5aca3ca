"""Discriminators in evaluation: their batch norms work as in training."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch import nn

from genlab.core.model import Model
from genlab.distributed.batch_norm import batch_statistics
from genlab.nn.capabilities import HasDiscriminator


def as_in_training(model: Model) -> AbstractContextManager[None]:
    """Meanwhile batch norms of the model's discriminators, if any, normalize by the batch at hand, as in training.

    In training real and generated images are normalized separately; running statistics mix the two, and with them
    logits differ from those of training by any amount.
    """
    phases = model.phases() if isinstance(model, HasDiscriminator) else ()
    return batch_statistics(nn.ModuleList(p.module for p in phases if p.module and p.name.startswith("discriminator")))

"""Classifier on the code of another model: what unsupervised learning is worth where labels are few.

The network of a model that encodes, with one linear layer on its code. Its weights come from a run that has seen images
without labels, or are new; then either the linear layer alone learns (`frozen`) or the whole (fine-tuning).

Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313 (2006); with few labels:
Kingma, Mohamed, Rezende & Welling, Semi-supervised Learning with Deep Generative Models, NeurIPS 2014 (the model M1).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from genlab.core.model import Encodes, Model, Shape
from genlab.errors import ConfigError
from genlab.registry import MODELS, ModelSpec, Spec


@MODELS("classifier")
class Classifier(Model):
    """`body` is the spec of a model that encodes.

    `init_from` names a run whose model whoever builds this one takes for `body`, and `pretrained` whether its weights
    too (genlab/workflows/warm_start.py).
    Here they are only a note: a classifier that stands alone, or is loaded, needs no run.
    """

    inputs: ClassVar[tuple[str, ...]] = ("image", "label")
    points: ClassVar = {}

    def __init__(
        self,
        image_shape: Shape,
        num_classes: int | None,
        body: ModelSpec,
        init_from: str | None = None,
        pretrained: bool = True,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        if num_classes is None:
            raise ConfigError(
                "a classifier needs labels", "the data set has none", "choose a labelled one: genlab list datasets"
            )
        self.frozen = frozen
        self.body: Any = _encoder(body, image_shape, num_classes, init_from)
        self.head = nn.Linear(self._prepare_body(image_shape, body), num_classes)

    def loss(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Cross entropy in nats and the share of right answers; attributes (N, A): summed and averaged over them."""
        logits = self.logits(image)
        if label.ndim == 1:
            return {"loss": cross_entropy(logits, label), "accuracy": (logits.argmax(1) == label).float().mean()}
        loss = binary_cross_entropy_with_logits(logits, label, reduction="none").sum(1).mean()
        return {"loss": loss, "accuracy": ((logits > 0) == (label > 0.5)).float().mean()}

    def logits(self, image: Tensor) -> Tensor:
        """log p(class|image) up to a constant, (N, num_classes)."""
        return self.head(self.encode(image)).float()

    def encode(self, image: Tensor) -> Tensor:
        """The body's code."""
        return self.body.encode(image).flatten(1)

    def train(self, mode: bool = True) -> Classifier:
        """A frozen body stays as it is used afterwards: its batch norm neither adapts nor normalises by the batch."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self

    def _prepare_body(self, image_shape: Shape, spec: Spec) -> int:
        """Leave gradients to those of the body's parameters on which its code depends; the length of a code.

        A decoder takes no part in a code: one backward pass tells which parameters do.
        """
        parameters = list(self.body.parameters())
        with torch.enable_grad():
            code = self.body.eval().encode(torch.zeros(1, *image_shape)).flatten(1)
        self.body.train()
        used: tuple[Tensor | None, ...] = (None,) * len(parameters)
        if not self.frozen:
            if not code.requires_grad:
                raise ConfigError(
                    f"nothing of model '{spec['name']}' can be fine-tuned: its code has no gradient",
                    "key model.frozen",
                    "use model.frozen=true",
                )
            used = torch.autograd.grad(code.sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, used, strict=True):
            parameter.requires_grad_(gradient is not None)
        return code.shape[1]


def _encoder(spec: Spec, image_shape: Shape, num_classes: int, init_from: str | None) -> Model:
    """The body; ConfigError if it has no code of an image alone."""
    body: Model = MODELS.build(spec, "model.body", image_shape=image_shape, num_classes=num_classes)
    where = f"key model.init_from, run {init_from}" if init_from else "key model.body"
    if not isinstance(body, Encodes) or isinstance(body, Classifier):
        raise ConfigError(f"model '{spec['name']}' learns no code without labels", where, "choose one that encodes")
    if body.conditions:
        raise ConfigError(
            f"model '{spec['name']}' encodes an image only with its {' and '.join(body.conditions)}",
            where,
            "choose one that needs the image alone",
        )
    return body

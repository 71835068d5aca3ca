"""Classifier on the code of another model, to measure what unsupervised learning is worth when labels are few.

A linear layer on the code of an encoder. The encoder's weights come from a run without labels, or are new. Either the
linear layer alone is trained (`frozen`), or the whole is fine-tuned.

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
from genlab.nn.layers.labels import needed
from genlab.registry import MODELS, ModelSpec, Spec


@MODELS("classifier")
class Classifier(Model):
    """`body` is the spec of a model that encodes.

    `init_from` names the run from which training takes `body` and, if `pretrained`, its weights.
    Both keys only record that here: building or loading a classifier needs no other run.
    """

    inputs = ("image", "label")
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
        num_classes = needed(num_classes, "classifier")
        self.frozen = frozen
        self.body: Any = _build_encoder(body, image_shape, num_classes, init_from)
        code_dim, encoder_parameters = _trace_code(self.body, image_shape)
        if not frozen and not encoder_parameters:
            raise ConfigError(
                f"model '{body['name']}' cannot be fine-tuned: its code has no gradient",
                "key model.frozen",
                "use model.frozen=true",
            )
        self.body.requires_grad_(False)
        for parameter in encoder_parameters:
            parameter.requires_grad_(not frozen)
        self.head = nn.Linear(code_dim, num_classes)

    def loss(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Cross entropy in nats, and accuracy in [0, 1]. Labels are classes (N,), or binary attributes (N, A), whose
        cross entropies are summed."""
        logits = self.logits(image)
        if label.ndim == 1:
            return {"loss": cross_entropy(logits, label), "accuracy": (logits.argmax(1) == label).float().mean()}
        loss = binary_cross_entropy_with_logits(logits, label, reduction="none").sum(1).mean()
        return {"loss": loss, "accuracy": ((logits > 0) == (label > 0.5)).float().mean()}

    def logits(self, image: Tensor) -> Tensor:
        """log p(class|image) up to a constant, (N, num_classes)."""
        return self.head(self.encode(image)).float()

    def encode(self, image: Tensor) -> Tensor:
        """The body's code, (N, D)."""
        return self.body.encode(image).flatten(1)

    def train(self, mode: bool = True) -> Classifier:
        """A frozen body stays in evaluation mode, so that its batch norm uses and keeps the running statistics."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self


def _build_encoder(spec: Spec, image_shape: Shape, num_classes: int, init_from: str | None) -> Model:
    """The body; ConfigError unless it encodes an image without further inputs."""
    body: Model = MODELS.build(spec, "model.body", image_shape=image_shape, num_classes=num_classes)
    where = f"key model.init_from, run {init_from}" if init_from else "key model.body"
    if not isinstance(body, Encodes) or isinstance(body, Classifier):
        raise ConfigError(f"model '{spec['name']}' does not learn a code without labels", where, "choose an encoder")
    if body.conditions:
        raise ConfigError(
            f"model '{spec['name']}' encodes an image only with its {' and '.join(body.conditions)}",
            where,
            "choose one that needs the image alone",
        )
    return body


def _trace_code(body: Any, image_shape: Shape) -> tuple[int, list[nn.Parameter]]:
    """The length of a code, and the parameters that a code depends on: the encoder's, not the decoder's."""
    with torch.enable_grad():
        code = body.eval().encode(torch.zeros(1, *image_shape)).flatten(1)
    body.train()
    parameters = [parameter for parameter in body.parameters() if parameter.requires_grad and code.requires_grad]
    gradients = torch.autograd.grad(code.sum(), parameters, allow_unused=True) if parameters else ()
    return code.shape[1], [p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]

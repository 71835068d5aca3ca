"""The parts of a model that can be exported: modules with named inputs, and examples of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genlab.core.model import (
    Decodes,
    Encodes,
    HasCodebook,
    HasPrior,
    HasVelocity,
    MixesStyles,
    Reconstructs,
    Translates,
    TranslatesBack,
)
from genlab.core.sampling import classes_in_turn, sample_options
from genlab.errors import ConfigError
from genlab.nn.capabilities import HasGANLoss
from genlab.nn.diffusion.solvers import evenly, last, solve
from genlab.registry import check_keywords

if TYPE_CHECKING:
    from genlab.workflows.build import LoadedRun

STEPS, SOLVER = 20, "euler"  # of a sampler
EXAMPLES = 3  # in a batch; neither 1, which exporters treat specially, nor a size of anything else


class Part(nn.Module):
    """`function` of a model as a module; its arguments have the names of `inputs`, whose first axis is the batch."""

    def __init__(self, model: nn.Module, function: Callable[..., Tensor], inputs: Mapping[str, Tensor], output: str):
        super().__init__()
        self.model, self.inputs, self.output = model, dict(inputs), output
        self.forward = function  # exporters read the names and the number of its arguments
        self.eval()

    def examples(self, rows: slice) -> dict[str, Tensor]:
        """Some of the inputs."""
        return {name: value[rows] for name, value in self.inputs.items()}


Make = Callable[["LoadedRun", Mapping[str, Any]], Part]


def part_of(loaded: LoadedRun, name: str | None, options: Mapping[str, Any]) -> tuple[str, Part]:
    """The part `name`, or the first that the model has; ConfigError if it has none.

    `options` are those of the model's `sample`; only a sampler takes any.
    """
    model = loaded.model
    able = [each for each, (capable, _) in PARTS.items() if capable(model)]
    if not able or (name is not None and name not in able):
        raise ConfigError(
            f"model '{loaded.config['name']}' has no {name or 'part that can be exported'}",
            f"run {loaded.path}",
            f"it has {', '.join(able)}" if able else "use to=safetensors, which holds the whole model",
        )
    chosen = name or able[0]
    if options and chosen != "sampler":
        raise ConfigError(f"a {chosen} has no options", f"key {next(iter(options))}", "leave it out")
    with torch.no_grad():
        return chosen, PARTS[chosen][1](loaded, options)


def _images(loaded: LoadedRun) -> Tensor:
    return torch.rand(EXAMPLES, *loaded.record["data"]["shape"])


def _decoder(loaded: LoadedRun, options: Mapping[str, Any]) -> Part:
    model: Any = loaded.model
    code = model.prior(EXAMPLES) if isinstance(model, HasPrior) else model.encode(_images(loaded))
    if not isinstance(loaded.model, MixesStyles):
        return Part(model, lambda code: model.decode(code), {"code": code}, "image")
    truncation = torch.tensor([1.0, 0.7, 0.5])

    def styled(code: Tensor, truncation: Tensor) -> Tensor:
        # (N, L, D) · (N, 1, 1): w̄ + ψ (w − w̄), each code with its own ψ
        whole, mean = model.styles(code, 1.0), model.styles(code, 0.0)
        image: Tensor = model.render(mean + truncation[:, None, None] * (whole - mean))
        return image

    return Part(model, styled, {"code": code, "truncation": truncation}, "image")


def _of_images(method: str, output: str) -> Make:
    def make(loaded: LoadedRun, options: Mapping[str, Any]) -> Part:
        function = getattr(loaded.model, method)
        labeled = method in ("encode", "reconstruct") and bool(loaded.model.conditions)
        return _with_label(loaded, _images(loaded), output, labeled, function)

    return make


def _discriminator(loaded: LoadedRun, options: Mapping[str, Any]) -> Part:
    """Its images are in the range that it has seen in training, in most GANs [-1, 1]."""
    model: Any = loaded.model
    images = 2 * _images(loaded) - 1
    return _with_label(loaded, images, "logit", "label" in model.inputs, model.discriminator_logits)


def _with_label(loaded: LoadedRun, image: Tensor, output: str, labeled: bool, function: Callable[..., Tensor]) -> Part:
    """A part that takes images (N, C, H, W) and, if `labeled`, their classes int64 (N,)."""
    if not labeled:
        return Part(loaded.model, lambda image: function(image), {"image": image}, output)
    inputs = {"image": image, "label": _labels(loaded)}
    return Part(loaded.model, lambda image, label: function(image, label), inputs, output)


def _sampler(loaded: LoadedRun, options: Mapping[str, Any]) -> Part:
    """Noise to images by a fixed number of steps of the flow's ODE, all in one graph."""
    model: Any = loaded.model
    chosen = check_keywords(sample_options(model), options, "genlab export")
    steps, solver, guidance = chosen.get("steps", STEPS), chosen.get("solver", SOLVER), chosen.get("guidance", 1.0)

    def sampled(noise: Tensor, label: Tensor | None = None) -> Tensor:
        def velocity(x: Tensor, t: float) -> Tensor:
            found: Tensor = model.guided(x, t, label, guidance)
            return found

        image: Tensor = model.to_image(last(solve(velocity, noise, evenly(0, 1, steps), solver)))
        return image

    noise = torch.randn_like(_images(loaded))
    if not classes_in_turn(model):
        return Part(model, lambda noise: sampled(noise), {"noise": noise}, "image")
    return Part(model, sampled, {"noise": noise, "label": _labels(loaded)}, "image")


def _labels(loaded: LoadedRun) -> Tensor:
    classes: int = loaded.record["data"]["num_classes"]
    return torch.arange(EXAMPLES) % classes


PARTS: dict[str, tuple[Callable[[Any], bool], Make]] = {
    "decoder": (
        lambda m: isinstance(m, Decodes) and isinstance(m, HasPrior | Encodes) and not isinstance(m, HasCodebook),
        _decoder,
    ),
    "sampler": (lambda m: isinstance(m, HasVelocity) and "solver" in sample_options(m).model_fields, _sampler),
    "translator": (lambda m: isinstance(m, Translates), _of_images("translate", "translation")),
    "back_translator": (lambda m: isinstance(m, TranslatesBack), _of_images("translate_back", "translation")),
    "encoder": (lambda m: isinstance(m, Encodes), _of_images("encode", "code")),
    "reconstructor": (lambda m: isinstance(m, Reconstructs), _of_images("reconstruct", "reconstruction")),
    "discriminator": (lambda m: isinstance(m, HasGANLoss), _discriminator),
}

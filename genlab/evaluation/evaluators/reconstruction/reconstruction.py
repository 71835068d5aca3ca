"""The error of reconstructions, and that of PCA with as many components as the code has dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core.evaluator import Evaluator, MeanEvaluator
from genlab.core.model import Encodes, HasCodebook, Model, Reconstructs
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.nn.losses.image_similarity import psnr
from genlab.registry import EVALUATORS, MODELS, PositiveInt


@EVALUATORS("reconstruction")
@dataclass
class Reconstruction(MeanEvaluator):
    """`squared_error` of `reconstruct`, summed over pixels; `pixel_error`, its mean over pixels; `psnr` in dB, at most
    100: −10 log₁₀ of an image's pixel error. All are means over images; reconstructions lie in [0, 1].

    `pca` adds the same for PCA, as `pca_*`: fitted on the training split, with as many components as the code has
    dimensions.
    """

    batch_size: PositiveInt = 500
    pca: bool = False

    needs = (Reconstructs,)
    notes = {"mean": "over the images of the split", "reconstructions": "in [0, 1]"}

    def batches(self, model: Any, split: Split, rank: int, world_size: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        columns = ("image", *model.conditions)
        baseline = principal_components(split.sibling("train"), self.components(model, split)) if self.pca else None
        for image, *conditions in split.batches(columns, self.batch_size, rank, world_size):
            found = errors(model.reconstruct(image, *conditions), image)
            if baseline is not None:
                found |= {f"pca_{name}": each for name, each in errors(baseline.reconstruct(image), image).items()}
            yield len(image), {name: each.double().sum() for name, each in found.items()}

    def components(self, model: Model, split: Split) -> int:
        """The dimensions of the model's code, at most those of an image."""
        if not isinstance(model, Encodes):
            raise ConfigError("this model has no code to compare with PCA's", "key evaluator.pca", "use pca=false")
        image, *conditions = split.take(1, ("image", *model.conditions))
        return min(model.encode(image, *conditions).numel(), image.numel())


def errors(reconstruction: Tensor, image: Tensor) -> dict[str, Tensor]:
    """Each image's squared error over its pixels, summed and averaged, and its PSNR in dB: (N,) each."""
    squares = (reconstruction.double() - image.double()).square().flatten(1)
    mean = squares.mean(1)
    return {"squared_error": squares.sum(1), "pixel_error": mean, "psnr": psnr(image, reconstruction)}


def principal_components(train: Split, components: int) -> Any:
    """PCA of all images of a split, on their device."""
    (first,) = train.take(1, ("image",))
    model = MODELS.build({"name": "pca", "latent_dim": components}, "pca", image_shape=tuple(first.shape[1:]))
    model.to(first.device)
    for (image,) in train.batches(("image",), 1000):
        model.update(image)
    return model


@EVALUATORS("subspace")
@dataclass
class Subspace(Evaluator):
    """How far a linear autoencoder's subspace is from that of PCA, fitted on the training split.

    `largest_angle` is the largest principal angle between the decoder's range and the span of the components, in
    degrees; `squared_error` and `pca_squared_error` are summed over pixels, without clipping to [0, 1]; `excess` is
    their ratio less 1. Björck & Golub, Numerical Methods for Computing Angles Between Linear Subspaces, Mathematics of
    Computation 27 (1973).
    """

    batch_size: PositiveInt = 500

    notes = {"pca": "fitted on train", "angle": "largest principal angle, in degrees"}

    def applies(self, model: Model) -> bool:
        codes = isinstance(model, Encodes) and not isinstance(model, HasCodebook) and not model.conditions
        return codes and hasattr(model, "encoder") and hasattr(model, "decoder")

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        (image,) = split.take(1, ("image",))
        code = model.encode(image)
        weight = linear_part(model.decoder, code.shape[1], code)
        pca = principal_components(split.sibling("train"), code.shape[1])
        own = total = torch.zeros((), dtype=torch.float64, device=image.device)
        for (image,) in split.batches(("image",), self.batch_size):
            own = own + (model.decoder(model.encode(image)) - image).double().square().sum() / len(split)
            total = total + pca.score(image).double().sum() / len(split)
        yield "largest_angle", largest_angle(weight, pca.moments.eigen()[1][:, : code.shape[1]])
        yield "squared_error", own
        yield "pca_squared_error", total
        yield "excess", own / total - 1


def linear_part(decoder: Any, size: int, like: Tensor) -> Tensor:
    """The matrix (pixels, size) of an affine map from codes to images; ConfigError if the map is not affine."""
    unit = torch.eye(size, device=like.device)
    zero = decoder(torch.zeros_like(unit[:1]))
    weight = (decoder(unit) - zero).flatten(1)
    twice = (decoder(-2 * unit) - zero).flatten(1)
    if not torch.allclose(twice, -2 * weight, rtol=1e-3, atol=1e-4 * float(weight.abs().max())):
        raise ConfigError("the model's decoder is not linear", "evaluator subspace", "it is for model=linear_ae")
    return weight.T.double()


def largest_angle(one: Tensor, other: Tensor) -> Tensor:
    """The largest principal angle, in degrees, between the ranges of two float64 matrices (D, k) of full rank.

    From its sine, ‖(I − Q₁Q₁ᵀ)Q₂‖, which is exact for small angles, where the cosine is not.
    """
    first, second = torch.linalg.qr(one).Q, torch.linalg.qr(other).Q
    sine = torch.linalg.matrix_norm(second - first @ (first.T @ second), ord=2)
    return torch.rad2deg(torch.asin(sine.clamp(max=1)))

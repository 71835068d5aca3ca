"""How well images come back from their codes, and how well they would from as many principal components."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.core.model import Encodes, Model, Reconstructs
from genlab.core.values import Value
from genlab.errors import ConfigError
from genlab.nn.losses.image_similarity import psnr
from genlab.registry import EVALUATORS, MODELS, Duration, PositiveInt

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("reconstruction")
class Reconstruction:
    """`squared_error` of `reconstruct`, summed over pixels; `pixel_error`, its mean over pixels; `psnr` in dB, which is
    −10 log₁₀ of an image's pixel error, at most 100. All are means over images; reconstructions lie in [0, 1].

    With `pca`, the same of PCA under names `pca_*`: fitted on the training split, with as many components as the
    model's code has numbers.
    """

    split: str | None = "valid"

    def __init__(self, batch_size: PositiveInt = 500, pca: bool = False, every: Duration | None = None) -> None:
        self.batch_size = batch_size
        self.pca = pca
        self.every = every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Reconstructs)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        totals, rows = self.sums(model, split, 0, 1)
        yield from ((name, total / rows) for name, total in totals.items())

    def sums(self, model: Model, split: Split, rank: int, world_size: int) -> tuple[dict[str, Tensor], int]:
        """The sums over the images of this rank's batches, and how many images these are."""
        columns = ("image", *model.conditions)
        baseline = principal_components(split.sibling("train"), self.components(model, split)) if self.pca else None
        totals: dict[str, Tensor] = {}
        rows = 0
        for image, *conditions in split.batches(columns, self.batch_size, rank, world_size):
            rows += len(image)
            assert isinstance(model, Reconstructs)
            found = errors(model.reconstruct(image, *conditions), image)
            if baseline is not None:
                found |= {f"pca_{name}": each for name, each in errors(baseline.reconstruct(image), image).items()}
            for name, each in found.items():
                totals[name] = totals.get(name, 0) + each.double().sum()
        return totals, rows

    def components(self, model: Model, split: Split) -> int:
        """How many numbers the model's code has, and an image at most."""
        if not isinstance(model, Encodes):
            raise ConfigError("this model has no code to compare with PCA's", "key evaluator.pca", "use pca=false")
        image, *conditions = split.first(1, ("image", *model.conditions))
        return min(model.encode(image, *conditions).numel(), image.numel())

    def protocol(self) -> dict[str, Any]:
        return {"mean": "over the images of the split", "reconstructions": "in [0, 1]", "pca": self.pca}


def errors(reconstruction: Tensor, image: Tensor) -> dict[str, Tensor]:
    """Each image's squared error over its pixels, summed and averaged, and its PSNR in dB: (N,) each."""
    squares = (reconstruction.double() - image.double()).square().flatten(1)
    mean = squares.mean(1)
    return {"squared_error": squares.sum(1), "pixel_error": mean, "psnr": psnr(image, reconstruction)}


def principal_components(train: Split, components: int) -> Any:
    """PCA of all images of a split, on their device."""
    (first,) = train.first(1, ("image",))
    model = MODELS.build({"name": "pca", "latent_dim": components}, "pca", image_shape=tuple(first.shape[1:]))
    model.to(first.device)
    for (image,) in train.batches(("image",), 1000):
        model.update(image)
    return model


@EVALUATORS("subspace")
class Subspace:
    """How far a linear autoencoder's plane is from that of PCA, fitted on the training split.

    `largest_angle` is the largest principal angle between the decoder's range and the components' span, in degrees;
    `squared_error` and `pca_squared_error` are those of an image, summed over pixels, nothing cut to [0, 1];
    `excess` is their quotient less 1. Björck & Golub, Numerical Methods for Computing Angles Between Linear
    Subspaces, Mathematics of Computation 27 (1973).
    """

    split: str | None = "valid"

    def __init__(self, batch_size: PositiveInt = 500, every: Duration | None = None) -> None:
        self.batch_size = batch_size
        self.every = every

    def applies(self, model: Model) -> bool:
        return hasattr(model, "encoder") and hasattr(model, "decoder") and isinstance(model, Encodes)

    def run(self, model: Any, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        (image,) = split.first(1, ("image",))
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

    def protocol(self) -> dict[str, Any]:
        return {"pca": "fitted on train", "angle": "largest principal angle, in degrees"}


def linear_part(decoder: Any, size: int, like: Tensor) -> Tensor:
    """The matrix (pixels, size) of an affine map from codes to images; ConfigError if it is not affine."""
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

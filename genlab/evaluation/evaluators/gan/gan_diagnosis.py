"""Problems of GAN training: samples that lack variety, and a discriminator that no longer helps the generator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import Samples, generator_every
from genlab.core.sampling import sample_batches
from genlab.core.values import UNTAUGHT, Diagnosis, Value
from genlab.data.dataset import Split
from genlab.evaluation.discriminators import as_in_training
from genlab.evaluation.evaluators.distribution.diversity import entropy, pair_distance, total_variation
from genlab.evaluation.evaluators.distribution.modes import clusters
from genlab.evaluation.extractors.classifiers import classifier_of
from genlab.evaluation.metrics.neighbors import radii
from genlab.nn.capabilities import HasDiscriminator, HasGANLoss
from genlab.nn.losses.adversarial import Logits
from genlab.nn.losses.gradient_penalties import gradient_norm
from genlab.registry import EVALUATORS

FORMING = 0.5  # fraction of training up to which modes may still appear and move
EARLY = 0.25  # fraction of training up to which a discriminator may still learn to distinguish
FEW = 0.3  # of the data's mean distance between two images: below it samples are too similar
DENSE = 0.25  # of the data's median distance to the nearest neighbor: below it samples are copies of a few
FAINT = 0.3  # of the data's contrast within an image: below it samples are too faint to be compared
HALF = math.log(2)  # nats of entropy lost when half the classes are
WON = 0.02  # of the loss of a constant guess: a discriminator with less has nothing left to learn
MOVED = 0.5  # fraction of the samples that belong to another kind than at the last evaluation
FLAT = 0.01  # spread of logits below which a discriminator does not distinguish images
APART = 0.2  # distance of the means of samples and data, over that of two images, above which the two differ
HELD = (0.1, 10.0)  # gradient norms, around the penalty's target of 1, with which the penalty works
PIXELS = 2**19  # of the images in a batch: 128 of 64 x 64, 32 of 128 x 128
ANCHORS = 10  # images to whose neighborhoods samples are assigned if there is no classifier


@dataclass(frozen=True)
class Variety:
    """How varied samples are: ratios to the data's values; entropies of classes in nats, if known."""

    distance: float
    spacing: float
    contrast: float
    classes: float | None
    classes_of_data: float | None

    @property
    def collapsed(self) -> bool:
        lost = self.classes is not None and self.classes < (self.classes_of_data or 0) - HALF
        return self.contrast >= FAINT and (self.distance < FEW or self.spacing < DENSE or lost)

    @property
    def text(self) -> str:
        distances = f"two samples are {self.distance:.2f} as far apart as two real images, neighbors {self.spacing:.2f}"
        if self.classes is None or self.classes_of_data is None:
            return distances
        return (
            f"{distances}, and there are {math.exp(self.classes):.1f} classes of {math.exp(self.classes_of_data):.1f}"
        )


@EVALUATORS("gan_diagnosis")
@dataclass
class GANDiagnosis(Evaluator):
    """Figures and diagnoses from a few images of the split and as many samples, from the same noise each time.

    `sample_distance` and `sample_spacing`: the mean distance of two samples, and the median distance to the nearest,
    over those of the data, in pixels. `critic_gradient`: the mean norm of the discriminator's gradient at real images.
    `critic_loss_ratio`: its loss over that of a constant guess; 1 if it cannot distinguish. Both use batch statistics,
    as in training, of `batch_size` images or fewer large ones. `mode_shift`: the total variation between the kinds
    (class, or nearest of a few real images; of points the nearest mode) of the samples now and at the last evaluation.

    A model without regularizers, which most of the advice changes, is only checked for a discriminator that has won.
    During training the raw weights are used, not their average. Data that are all alike are skipped.
    """

    images: Annotated[int, Gt(ANCHORS)] = 256
    batch_size: Annotated[int, Gt(1)] = 64
    # fractions of kinds at the last evaluation, and how far they had moved then
    memory: dict[str, list[float]] = field(default_factory=dict, init=False)

    needs = (HasDiscriminator,)
    live = True  # an averaged discriminator does not train the generator
    notes = {
        "batches": f"batch_size images or fewer: at most {PIXELS} pixels together, at least two images",
        "features": "pixels",
        "pairs": "each image and the next, in a fixed random order",
    }

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        columns = split.take(self.images, model.inputs)
        if (columns[0] == columns[0][:1]).all():
            return
        if not (isinstance(model, HasGANLoss) and isinstance(model, Samples)):
            real_and_fake_logits, _ = self._critic(model, columns)
            yield from _won(model, real_and_fake_logits)
            return
        real, fake = columns[0].cpu(), self._samples(model, len(columns[0]))
        kinds, classified = _kinds(split, real, fake)
        found = variety(real, fake, kinds if classified else None)
        yield "sample_distance", found.distance
        yield "sample_spacing", found.spacing
        if found.collapsed:
            yield "mode_collapse", _of_samples(f"modes are missing: {found.text}; {more_modes(model)}", model)
        real_and_fake_logits, norm = self._critic(model, columns)
        yield from _won(model, real_and_fake_logits)
        yield from _regularized(model, real_and_fake_logits[""], norm, gap(real, fake))
        yield from self._shift(model, kinds[1])

    def _samples(self, model: Any, n: int) -> Tensor:
        return torch.cat([images.cpu() for images in sample_batches(model, n, self.batch_size)])

    def _critic(self, model: Any, columns: tuple[Tensor, ...]) -> tuple[dict[str, Logits], float]:
        """Each discriminator's logits; with regularizers, also the mean norm of their gradient at real images."""
        found: list[dict[str, Logits]] = []
        norms: list[Tensor] = []
        parts = parts_of(columns[0], self.batch_size)
        for part in zip(*(column.tensor_split(parts) for column in columns), strict=True):
            with as_in_training(model):
                drawn = model.shared_forward(*part)
                found.append(model.real_and_fake_logits(*drawn))
                if isinstance(model, HasGANLoss):
                    norms.append(gradient_norm(partial(_logits, model, drawn[2:]), drawn[0]).cpu())
        real_and_fake_logits = {name: _joined([each[name] for each in found]) for name in found[0]}
        return real_and_fake_logits, float(torch.cat(norms).mean()) if norms else math.nan

    def _shift(self, model: Any, fractions: Tensor) -> Iterator[tuple[str, Value]]:
        before, moved = self.memory.get("fractions", []), self.memory.get("moved", [])
        self.memory = {"fractions": fractions.tolist(), "moved": []}
        if len(before) != len(fractions):  # the first evaluation
            return
        shift = total_variation(fractions, torch.tensor(before, dtype=torch.float64))
        self.memory = {"fractions": fractions.tolist(), "moved": [shift]}
        yield "mode_shift", shift
        if moved and min(shift, *moved) > MOVED:
            found = (
                f"the generator jumps between modes, {shift:.0%} of its samples changed kind since the last evaluation"
            )
            yield "oscillation", _of_samples(f"{found}; {calmer(model)}", model)


def parts_of(images: Tensor, batch_size: int) -> int:
    """The number of batches of images (N, C, H, W): of `batch_size` or PIXELS at most, of two images at least."""
    size = max(2, min(batch_size, PIXELS // images[0, 0].numel()))
    return max(1, min(len(images) // 2, -(-len(images) // size)))


def _of_samples(sentence: str, model: Any) -> Diagnosis:
    return Diagnosis(sentence, FORMING, UNTAUGHT * generator_every(model))


def _of_critic(sentence: str) -> Diagnosis:
    return Diagnosis(sentence, EARLY, UNTAUGHT)


def _joined(parts: list[Logits]) -> Logits:
    real = torch.cat([part.real.float().cpu() for part in parts])
    fake = torch.cat([part.fake.float().cpu() for part in parts])
    return Logits(parts[0].gan_loss, real, fake)


def _logits(model: Any, conditions: Sequence[Tensor], images: Tensor) -> Tensor:
    logits: Tensor = model.discriminator_logits(images, *conditions)
    return logits


def variety(real: Tensor, fake: Tensor, kinds: tuple[Tensor, Tensor] | None) -> Variety:
    """The variety of images (N, C, H, W), with the fractions (K,) of the classes of each set, if known."""
    x, y = real.flatten(1).float(), fake.flatten(1).float()
    tiny = torch.finfo(torch.float32).tiny
    spacing = float(radii(y, 1).median()) / max(float(radii(x, 1).median()), tiny)
    known = (entropy(kinds[1]), entropy(kinds[0])) if kinds else (None, None)
    distance = pair_distance(y) / max(pair_distance(x), tiny)
    return Variety(distance, spacing, contrast(fake) / contrast(real) if contrast(real) else 1.0, *known)


def contrast(images: Tensor) -> float:
    """The standard deviation over the positions of a channel, averaged over images (N, C, H, W); 0 for points."""
    return float(images.float().flatten(2).std(2, correction=0).mean())


def gap(real: Tensor, fake: Tensor) -> float:
    """The distance between the means of two sets of images, over the mean distance of two real images."""
    x, y = real.flatten(1).float(), fake.flatten(1).float()
    return float((x.mean(0) - y.mean(0)).norm()) / max(pair_distance(x), torch.finfo(torch.float32).tiny)


def _kinds(split: Split, real: Tensor, fake: Tensor) -> tuple[tuple[Tensor, Tensor], bool]:
    """The fractions (K,) of kinds among real images and samples, and whether the kinds are classes."""
    classifier = classifier_of(split.table.name) if real.shape[1] == 1 else None
    if classifier:
        classifier.to(real.device)
        return (classifier.fractions(classifier(real)), classifier.fractions(classifier(fake))), True
    known = split.points and split.classes() is not None
    chosen = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:ANCHORS]
    anchors = clusters(split)[0].float() if known else real[chosen].flatten(1).float()
    nearest = [torch.cdist(each.flatten(1).float(), anchors).argmin(1) for each in (real, fake)]
    fractions = [each.bincount(minlength=len(anchors)).double() / len(each) for each in nearest]
    return (fractions[0], fractions[1]), known


def _won(model: Any, real_and_fake_logits: dict[str, Logits]) -> Iterator[tuple[str, Value]]:
    """Each discriminator's loss over that of a constant guess, and the diagnosis if it is very small."""
    for name, (gan_loss, real, fake) in real_and_fake_logits.items():
        unsure = (torch.full_like(logits, gan_loss.indifferent) for logits in (real, fake))
        loss, guess = float(gan_loss.discriminator(real, fake)), float(gan_loss.discriminator(*unsure))
        if guess <= 0:  # every constant score of a Wasserstein critic is as good
            continue
        ending, which = (f"_{name}", f" of {name}") if name else ("", "")
        yield f"critic_loss_ratio{ending}", loss / guess
        if loss < WON * guess:
            found = f"the discriminator{which} has won, its loss is {loss:.2g} and that of a guess {guess:.2g}"
            yield f"discriminator_won{ending}", _of_critic(f"{found}: its gradients vanish; {weaker(model)}")


def _regularized(model: Any, logits: Logits, norm: float, apart: float) -> Iterator[tuple[str, Value]]:
    """Whether regularization is too weak (the gradient's norm) or too strong (logits (N, 1) that hardly differ)."""
    yield "critic_gradient", norm
    penalty = model.regularizers.penalties.get("gradient_penalty")
    if penalty and not HELD[0] < norm < HELD[1]:
        found = f"the gradient penalty is too weak, the critic's gradient at real images is {norm:.2g}, its target 1"
        override = f"model.regularizers.gradient_penalty.weight={10 * max(penalty.weight, 1):g}"
        yield "gradient_penalty", _of_critic(f"{found}; {override}")
    spread = float(torch.cat([logits.real, logits.fake]).std())
    if spread < FLAT and apart > APART:
        found = f"the discriminator does not distinguish images, logits spread by {spread:.1g}, gradient {norm:.1g}"
        yield "flat_discriminator", _of_critic(f"{found}; {sharper(model)}")


def more_modes(model: Any) -> str:
    """The override against mode collapse: the discriminator sees several images at once."""
    if "pack" in getattr(model, "incompatible", ()):
        return calmer(model)
    pack = model.regularizers.pack
    return f"model.regularizers.pack.size={2 * pack.size if pack else 2}"


def penalized_by_gamma(model: Any) -> bool:
    """Whether R1 is part of the model's loss, as in R3GAN, instead of one of its regularizers."""
    return "r1" in getattr(model, "incompatible", ())


def calmer(model: Any) -> str:
    """The override against oscillation: a penalty on the gradient at real images."""
    if penalized_by_gamma(model):
        return f"model.gamma={10 * model.gamma or 1:g}"
    return "trainer.ema_decay=0.999" if "r1" in model.regularizers.penalties else "model.regularizers.r1.weight=10"


def weaker(model: Any) -> str:
    """How to weaken the discriminator: the override of R1's weight, or the key of its learning rate."""
    if penalized_by_gamma(model):
        return f"model.gamma={2 * model.gamma or 1:g}"
    if isinstance(model, HasGANLoss):
        r1 = model.regularizers.penalties.get("r1")
        return f"model.regularizers.r1.weight={2 * r1.weight if r1 and r1.weight else 10:g}"
    if hasattr(model, "r1"):
        return f"model.r1={2 * model.r1 or 0.01:g}"
    names = [phase.name for phase in model.phases() if phase.name.startswith("discriminator")]
    return f"set optimizer.phases.{names[0] if names else 'discriminator'}.lr to a quarter of its rate"


def sharper(model: Any) -> str:
    """The override against a flat discriminator: less regularization."""
    if penalized_by_gamma(model) and model.gamma:
        return f"model.gamma={model.gamma / 10:g}"
    for name, penalty in model.regularizers.penalties.items():
        if name != "gradient_penalty" and penalty.weight:
            return f"model.regularizers.{name}.weight={penalty.weight / 10:g}"
    if model.regularizers.clip:
        return f"model.regularizers.clip.bound={10 * model.regularizers.clip.bound:g}"
    return "optimizer.phases.discriminator.lr=4e-4"

"""How a game goes: whether the generator keeps the data's variety, whether the discriminator still teaches it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Gt
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import Samples, generator_every
from genlab.core.sampling import sample_batches
from genlab.core.values import UNTAUGHT, Diagnosis, Value
from genlab.distributed.batch_norm import batch_statistics
from genlab.evaluation.evaluators.distribution.diversity import entropy, pair_distance, total_variation
from genlab.evaluation.extraction import choose, own, some
from genlab.evaluation.extractors.classifiers import SmallClassifier
from genlab.evaluation.metrics.neighbors import radii
from genlab.nn.capabilities import HasDiscriminator, HasGANLoss
from genlab.nn.losses.adversarial import Logits
from genlab.nn.losses.gradients import gradient_norm
from genlab.registry import EVALUATORS, Cadence

if TYPE_CHECKING:
    from genlab.data.dataset import Split

FORMING = 0.5  # share of training up to which modes may still come, and move
EARLY = 0.25  # likewise up to which a discriminator may still learn to tell
FEW = 0.3  # of the data's mean distance between two images: below it samples are too much alike
DENSE = 0.25  # of the data's median distance to the nearest neighbour: below it samples are copies of a few
FAINT = 0.3  # of the data's contrast within an image: below it samples are no pictures yet, alike or not
HALF = math.log(2)  # nats of entropy lost when half the classes are
WON = 0.02  # of what guessing costs: a discriminator with less loss has nothing left to learn
MOVED = 0.5  # share of the samples that are of another kind than at the last evaluation
FLAT = 0.01  # spread of logits below which a discriminator tells nothing
APART = 0.2  # distance of the means of samples and data, over that of two images: there is something to tell
HELD = (0.1, 10.0)  # gradient norms about the penalty's target of 1 with which it does its work
PIXELS = 2**19  # of the images that are judged at a time: 128 of 64 x 64, 32 of 128 x 128
ANCHORS = 10  # images to whose neighbourhoods samples are assigned where there is no classifier


@dataclass(frozen=True)
class Variety:
    """How varied samples are beside the data: all over the data's; entropies of classes in nats, if known."""

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
        said = f"two samples are {self.distance:.2f} as far apart as two real images, neighbours {self.spacing:.2f}"
        if self.classes is None or self.classes_of_data is None:
            return said
        return f"{said}, and there are {math.exp(self.classes):.1f} classes of {math.exp(self.classes_of_data):.1f}"


@EVALUATORS("game")
@dataclass
class GameDiagnosis(Evaluator):
    """Over a few images of the split and as many samples, always of the same noise.

    `sample_distance` and `sample_spacing`: the mean distance of two samples and the median one to the nearest, over the
    data's, by pixels. `critic_gradient`: the mean norm of the discriminator's gradient at real images.
    `critic_loss_ratio`: its loss over that of a guess, 1 if it cannot tell; both with each batch's own statistics, as
    in training, of `batch_size` images or fewer large ones. It is all that is looked at where there are no
    regularizers, which is what the other advice is about.
    `mode_shift`: the share of the samples that have changed kind (class, or nearest of a few real images) since the
    last evaluation, as a total variation. While training, both players are as they learn, not averaged over steps. Of
    data that are all alike nothing is said.
    """

    images: Annotated[int, Gt(ANCHORS)] = 256
    batch_size: Annotated[int, Gt(1)] = 64
    every: Cadence = "auto"
    memory: dict[str, Any] = field(default_factory=dict, init=False)  # fractions of kinds at the last evaluation

    needs = (HasDiscriminator,)
    live = True  # an averaged discriminator does not train the generator
    notes = {
        "batches": f"batch_size images or fewer: at most {PIXELS} pixels together, at least two images",
        "features": "pixels",
        "pairs": "each image and the next, in a fixed random order",
    }

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        columns = some(split, self.images).first(self.images, model.inputs)
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
        yield from _steadied(model, real_and_fake_logits[""], norm, gap(real, fake))
        yield from self._shift(model, kinds[1])

    def _samples(self, model: Any, n: int) -> Tensor:
        return torch.cat([images.cpu() for images in sample_batches(model, n, self.batch_size)])

    def _critic(self, model: Any, columns: tuple[Tensor, ...]) -> tuple[dict[str, Logits], float]:
        """Each discriminator's logits; the mean norm of their gradient at real images, if a penalty may be on it."""
        found: list[dict[str, Logits]] = []
        norms: list[Tensor] = []
        parts = parts_of(columns[0], self.batch_size)
        for part in zip(*(column.tensor_split(parts) for column in columns), strict=True):
            with batch_statistics(model):  # the discriminator as the generator meets it
                drawn = model.shared_forward(*part)
                found.append(model.real_and_fake_logits(*drawn))
                if isinstance(model, HasGANLoss):
                    norms.append(gradient_norm(partial(_judged, model, drawn[2:]), drawn[0]).cpu())
        real_and_fake_logits = {name: _joined([each[name] for each in found]) for name in found[0]}
        return real_and_fake_logits, float(torch.cat(norms).mean()) if norms else math.nan

    def _shift(self, model: Any, shares: Tensor) -> Iterator[tuple[str, Value]]:
        before, moved = self.memory.get("shares", []), self.memory.get("moved", 0.0)
        self.memory = {"shares": shares.tolist(), "moved": 0.0}
        if len(before) != len(shares):  # the first evaluation
            return
        shift = total_variation(shares, torch.tensor(before, dtype=torch.float64))
        self.memory = {"shares": shares.tolist(), "moved": shift}
        yield "mode_shift", shift
        if min(shift, moved) > MOVED:
            said = f"the generator goes from mode to mode, {shift:.0%} of its samples changed kind since the last look"
            yield "oscillation", _of_samples(f"{said}; {calmer(model)}", model)


def parts_of(images: Tensor, batch_size: int) -> int:
    """In how many parts images (N, C, H, W) are judged: of `batch_size` or PIXELS at most, of two images at least."""
    size = max(2, min(batch_size, PIXELS // images[0, 0].numel()))
    return max(1, min(len(images) // 2, -(-len(images) // size)))


def _of_samples(sentence: str, model: Any) -> Diagnosis:
    return Diagnosis(sentence, FORMING, UNTAUGHT * generator_every(model))


def _of_critic(sentence: str) -> Diagnosis:
    return Diagnosis(sentence, EARLY, UNTAUGHT)


def _joined(parts: list[Logits]) -> Logits:
    real = torch.cat([part.real.float().cpu() for part in parts])
    made = torch.cat([part.made.float().cpu() for part in parts])
    return Logits(parts[0].gan_loss, real, made)


def _judged(model: Any, given: Sequence[Tensor], images: Tensor) -> Tensor:
    logits: Tensor = model.discriminator_logits(images, *given)
    return logits


def variety(real: Tensor, fake: Tensor, kinds: tuple[Tensor, Tensor] | None) -> Variety:
    """Of images (N, C, H, W), and of the shares (K,) of the classes of each, if these are known."""
    x, y = real.flatten(1).float(), fake.flatten(1).float()
    tiny = torch.finfo(torch.float32).tiny
    spacing = float(radii(y, 1).median()) / max(float(radii(x, 1).median()), tiny)
    known = (entropy(kinds[1]), entropy(kinds[0])) if kinds else (None, None)
    distance = pair_distance(y) / max(pair_distance(x), tiny)
    return Variety(distance, spacing, contrast(fake) / contrast(real) if contrast(real) else 1.0, *known)


def contrast(images: Tensor) -> float:
    """The standard deviation over the places of a channel, averaged over images (N, C, H, W); of points, 0."""
    return float(images.float().flatten(2).std(2, correction=0).mean())


def gap(real: Tensor, fake: Tensor) -> float:
    """How far apart the means of two sets of images lie, over the distance of two real images."""
    x, y = real.flatten(1).float(), fake.flatten(1).float()
    return float((x.mean(0) - y.mean(0)).norm()) / max(pair_distance(x), torch.finfo(torch.float32).tiny)


def _kinds(split: Split, real: Tensor, fake: Tensor) -> tuple[tuple[Tensor, Tensor], bool]:
    """The shares (K,) of kinds among real images and samples, and whether the kinds are classes."""
    name = own(split.table.name) if real.shape[1] == 1 else None
    if name:
        classifier = choose(name, split)
        assert isinstance(classifier, SmallClassifier)
        classifier.to(real.device)
        return (classifier.fractions(classifier(real)), classifier.fractions(classifier(fake))), True
    chosen = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:ANCHORS]
    anchors = real[chosen].flatten(1).float()
    nearest = [torch.cdist(each.flatten(1).float(), anchors).argmin(1) for each in (real, fake)]
    shares = [each.bincount(minlength=len(anchors)).double() / len(each) for each in nearest]
    return (shares[0], shares[1]), False


def _won(model: Any, real_and_fake_logits: dict[str, Logits]) -> Iterator[tuple[str, Value]]:
    """What each discriminator's loss says of it, beside that of a guess."""
    for name, (game, real, made) in real_and_fake_logits.items():
        unsure = (torch.full_like(logits, game.indifferent) for logits in (real, made))
        loss, guess = float(game.discriminator(real, made)), float(game.discriminator(*unsure))
        if guess <= 0:  # of a Wasserstein critic any score is a guess
            continue
        ending, which = (f"_{name}", f" of {name}") if name else ("", "")
        yield f"critic_loss_ratio{ending}", loss / guess
        if loss < WON * guess:
            said = f"the discriminator{which} has won, its loss is {loss:.2g} where a guess costs {guess:.2g}"
            yield f"discriminator_won{ending}", _of_critic(f"{said}, and teaches little; {weaker(model)}")


def _steadied(model: Any, logits: Logits, norm: float, apart: float) -> Iterator[tuple[str, Value]]:
    """What the gradient's norm, and logits (N, 1) that hardly differ, say of what steadies the discriminator."""
    yield "critic_gradient", norm
    penalty = model.regularizers.penalties.get("gradient_penalty")
    if penalty and not HELD[0] < norm < HELD[1]:
        said = f"the gradient penalty does not hold, the critic's gradient is {norm:.2g} at images where it is to be 1"
        treated = f"model.regularizers.gradient_penalty.weight={10 * max(penalty.weight, 1):g}"
        yield "gradient_penalty", _of_critic(f"{said}; {treated}")
    spread = float(torch.cat([logits.real, logits.made]).std())
    if spread < FLAT and apart > APART:
        said = f"the discriminator says the same of every image, logits spread by {spread:.1g}, gradient {norm:.1g}"
        yield "flat_discriminator", _of_critic(f"{said}; {sharper(model)}")


def more_modes(model: Any) -> str:
    """The override against mode collapse: the discriminator sees several images at once."""
    if not getattr(model, "packs", True):
        return calmer(model)
    pack = model.regularizers.pack
    return f"model.regularizers.pack.size={2 * pack.size if pack else 2}"


def calmer(model: Any) -> str:
    """The override against going round in circles: a penalty on the gradient at real images."""
    return "trainer.ema=0.999" if "r1" in model.regularizers.penalties else "model.regularizers.r1.weight=10"


def weaker(model: Any) -> str:
    """What holds the discriminator back: the override of R1's weight where there is such, else the key of its rate."""
    if isinstance(model, HasGANLoss):
        r1 = model.regularizers.penalties.get("r1")
        return f"model.regularizers.r1.weight={2 * r1.weight if r1 and r1.weight else 10:g}"
    if hasattr(model, "r1"):
        return f"model.r1={2 * model.r1 or 0.01:g}"
    names = [phase.name for phase in model.phases() if phase.name.startswith("discriminator")]
    return f"set optimizer.phases.{names[0] if names else 'discriminator'}.lr to a quarter of its rate"


def sharper(model: Any) -> str:
    """The override that gives the discriminator its slope back."""
    for name, penalty in model.regularizers.penalties.items():
        if name != "gradient_penalty" and penalty.weight:
            return f"model.regularizers.{name}.weight={penalty.weight / 10:g}"
    if model.regularizers.clip:
        return f"model.regularizers.clip.bound={10 * model.regularizers.clip.bound:g}"
    return "optimizer.phases.discriminator.lr=4e-4"

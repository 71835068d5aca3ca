"""What is said of a game: of a generator of one image, one that jumps, a discriminator that has won or says nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model, generator_every
from genlab.core.values import Diagnosis
from genlab.data.datasets.synthetic.toy import Ring
from genlab.data.loader import Data
from genlab.engine.evaluate import evaluate
from genlab.evaluation.evaluators.gan.gan_diagnosis import GANDiagnosis, _kinds, parts_of, variety
from genlab.nn.capabilities import HasGANLoss
from genlab.nn.losses.adversarial import GAN_LOSSES, Logits
from genlab.nn.losses.regularizers import Regularizers
from genlab.registry import MODELS, discover
from tests.support.evaluated import MemorySplit
from tests.support.in_memory import Fixed, in_memory
from tests.support.models import shrunk, spec_of

discover()
HEALTHY = torch.randint(0, 256, (400, 1, 4, 4), generator=torch.Generator().manual_seed(9)) / 255


class Match(Fixed):
    """A generator of given images against a discriminator of given slope along one direction, and offset."""

    def __init__(self, images: Tensor, slope: float = 1.0, bias: float = 0.0, loss: str = "non_saturating", **by: Any):
        super().__init__(images)
        self.gan_loss, self.regularizers = GAN_LOSSES[loss], Regularizers(by)  # type: ignore[index]
        self.slope, self.bias = slope, bias

    def shared_forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        return 2 * columns[0] - 1, 2 * self.sample(len(columns[0])) - 1

    def real_and_fake_logits(self, real: Tensor, fake: Tensor) -> dict[str, Logits]:
        return {"": Logits(self.gan_loss, self.discriminator_logits(real), self.discriminator_logits(fake))}

    def discriminator_logits(self, images: Tensor, *given: Tensor) -> Tensor:
        return self.slope * images.flatten(1).mean(1, keepdim=True) * 4 + self.bias


class Oracle(Match):
    """Its discriminator knows what is real: the fakes are darker."""

    def discriminator_logits(self, images: Tensor, *given: Tensor) -> Tensor:
        return 40 * (images.flatten(1).mean(1, keepdim=True) + 0.6)


def said(model: Model, data: Data, evaluator: GANDiagnosis | None = None) -> dict[str, Any]:
    return dict(evaluate(evaluator or GANDiagnosis(images=60), model, data, seed=0))


def sentences(found: dict[str, Any]) -> dict[str, str]:
    return {name: value.sentence for name, value in found.items() if isinstance(value, Diagnosis)}


def test_a_healthy_game_is_not_diagnosed(noise_images: Data) -> None:
    evaluator = GANDiagnosis(images=60)
    for _ in range(3):
        model = Match(HEALTHY)
        found = said(model, noise_images, evaluator)
        assert not sentences(found)
    assert found["sample_distance"] == pytest.approx(1, abs=0.1)
    assert found["sample_spacing"] == pytest.approx(1, abs=0.1)
    assert found["mode_shift"] == 0  # the same noise, the same samples
    assert found["critic_gradient"] == pytest.approx(4 / 16 * 16**0.5)  # of 4·mean over 16 pixels
    assert isinstance(model, HasGANLoss)


def test_one_image_a_class_is_few_images_though_classes_are_far_apart(noise_images: Data) -> None:
    faint = 0.04 * torch.randn(60, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    found = said(Match((HEALTHY[:10].repeat(6, 1, 1, 1) + faint).clamp(0, 1)), noise_images)
    assert found["sample_distance"] > 0.7
    assert 0.1 < found["sample_spacing"] < 0.25
    assert "mode_collapse" in sentences(found)


@pytest.mark.parametrize("kept", [1, 3])
def test_a_generator_of_few_images_is_diagnosed(kept: int, noise_images: Data) -> None:
    found = said(Match(HEALTHY[:kept]), noise_images)
    assert sentences(found)["mode_collapse"].endswith("; model.regularizers.pack.size=2")
    assert found["mode_collapse"].after == 0.5
    assert found["mode_collapse"].steps == 500  # moves of the generator, one a step
    packed = said(Match(HEALTHY[:kept], pack={"size": 2}), noise_images)
    assert sentences(packed)["mode_collapse"].endswith("model.regularizers.pack.size=4")
    alone = Match(HEALTHY[:kept])
    alone.incompatible = {"pack": ""}  # as of a conditional GAN and InfoGAN
    assert sentences(said(alone, noise_images))["mode_collapse"].endswith("model.regularizers.r1.weight=10")


def test_the_gray_of_a_generator_that_has_learned_nothing_is_no_collapse(noise_images: Data) -> None:
    found = said(Match(0.5 + 0.02 * HEALTHY), noise_images)
    assert found["sample_distance"] < 0.1
    assert "mode_collapse" not in sentences(found)


def test_points_on_few_of_the_known_modes_are_a_collapse() -> None:
    split = Ring(n=4000).open(torch.device("cpu")).split("valid")
    real, mode = split.take(256, ("image", "label"))
    for kept, collapsed in ((range(8), False), ((0, 3, 6), True)):
        fake = real[torch.isin(mode, torch.tensor(kept))]
        kinds, known = _kinds(split, real, fake)
        assert known
        assert (kinds[1] > 0).nonzero().flatten().tolist() == list(kept)
        assert variety(real, fake, kinds).collapsed == collapsed
        assert not variety(real, fake, None).collapsed  # distances alone do not tell


def test_points_have_no_contrast_and_collapse_all_the_same() -> None:
    points = torch.randn(100, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    assert variety(points, points[:1].expand(100, -1, -1, -1), None).collapsed
    assert not variety(points, points, None).collapsed


@pytest.mark.parametrize(
    ("side", "images", "largest"), [(32, 256, 64), (128, 256, 32), (256, 60, 8), (2048, 7, 3), (8, 65, 33), (8, 1, 1)]
)
def test_so_many_images_are_judged_at_a_time_as_memory_holds(side: int, images: int, largest: int) -> None:
    pictures = torch.empty(1, 1, 1, 1).expand(images, 3, side, side)
    parts = pictures.tensor_split(parts_of(pictures, 64))
    assert max(len(part) for part in parts) == largest
    assert min(len(part) for part in parts) >= min(2, images)  # of one image batch norm has no statistics


def test_of_data_that_are_all_alike_nothing_is_said() -> None:
    alike = in_memory(torch.full((200, 1, 4, 4), 7, dtype=torch.uint8))
    assert said(Match(HEALTHY), alike) == {}


def test_a_diagnosis_waits_for_as_many_moves_of_a_generator_that_moves_rarely() -> None:
    spec = {"name": "mlp", "hidden": [8]}
    gan = {"name": "gan", "generator": spec, "discriminator": spec, "critic_steps": 5}
    assert generator_every(MODELS.build(gan, "model", image_shape=(1, 4, 4))) == 5
    assert generator_every(Match(HEALTHY)) == 1


def test_missing_classes_are_a_collapse_even_where_distances_are_kept() -> None:
    images = HEALTHY[:100]
    even, few = torch.full((10,), 0.1), torch.tensor([0.3, 0.3, 0.4] + [0.0] * 7)
    assert not variety(images, images, (even, even)).collapsed
    lost = variety(images, images, (even, few))
    assert lost.collapsed
    assert "3.0 classes of 10.0" in lost.text


def test_a_discriminator_that_has_won_is_diagnosed(noise_images: Data) -> None:
    dark = 0.2 * HEALTHY
    for loss in ("non_saturating", "hinge", "relativistic"):
        found = said(Oracle(dark, loss=loss), noise_images)
        assert found["critic_loss_ratio"] < 0.02
        assert "has won" in sentences(found)["discriminator_won"]
        assert sentences(found)["discriminator_won"].endswith("model.regularizers.r1.weight=10")
    stronger = said(Oracle(dark, r1={"weight": 10}), noise_images)
    assert sentences(stronger)["discriminator_won"].endswith("model.regularizers.r1.weight=20")
    assert "discriminator_won" not in sentences(said(Oracle(dark, loss="wasserstein"), noise_images))


@pytest.mark.parametrize("loss", list(GAN_LOSSES))
def test_the_loss_of_a_discriminator_that_knows_nothing_is_that_of_a_guess(loss: str, noise_images: Data) -> None:
    bias = 0.5 if loss == "least_squares" else 0.0
    found = said(Match(HEALTHY, slope=0, bias=bias, loss=loss), noise_images)
    assert found.get("critic_loss_ratio") == (None if loss == "wasserstein" else pytest.approx(1))


class Knows(nn.Module):
    """Real pictures are black and white, what a generator makes is neither."""

    def __init__(self, real: float = 20, made: float = -20) -> None:
        super().__init__()
        self.real, self.made = real, made

    def forward(self, image: Tensor) -> Tensor:
        known = (image.abs() == 1).flatten(1).all(1, keepdim=True)
        return torch.where(known, self.real, self.made)


def family(name: str) -> Any:
    torch.manual_seed(0)
    return MODELS.build(shrunk(spec_of(name)), "model", image_shape=(1, 32, 32)).eval()


def beaten(name: str) -> Any:
    """A small model of the family whose discriminator has won."""
    model, knows = family(name), Knows()
    if name == "cyclegan":
        model.discriminators = nn.ModuleDict({domain: Knows(real=1, made=0) for domain in "XY"})
    elif name == "aae":
        model.discriminator, model.prior = knows, lambda n: torch.ones(n, model.latent_dim)
    elif name == "vaegan":
        model.features_and_logit = lambda x: (x, knows(x))
    else:
        model.discriminator_logits = (lambda x, y: knows(y)) if name == "pix2pix" else knows.forward
    return model


CURES = {
    "stylegan2": "model.r1=0.02",
    "vaegan": "set optimizer.phases.discriminator.lr to a quarter of its rate",
    "pix2pix": "set optimizer.phases.discriminator.lr to a quarter of its rate",
    "cyclegan": "set optimizer.phases.discriminators.lr to a quarter of its rate",
    "aae": "set optimizer.phases.discriminator.lr to a quarter of its rate",
}


@pytest.mark.parametrize("name", CURES)
def test_any_discriminator_that_has_won_is_diagnosed(name: str) -> None:
    image = torch.rand(20, 1, 32, 32).round()
    split: Any = MemorySplit(image, a=image, b=1 - image)
    endings = ("_a", "_b") if name == "cyclegan" else ("",)
    with torch.no_grad():
        found = dict(GANDiagnosis(batch_size=8).run(family(name), split))
        won = dict(GANDiagnosis(batch_size=8).run(beaten(name), split))
    assert found.keys() == {f"critic_loss_ratio{ending}" for ending in endings}  # untaught, it has not won
    for ending in endings:
        assert won[f"critic_loss_ratio{ending}"] < 1e-3
        assert won[f"discriminator_won{ending}"].sentence.endswith(f"; {CURES[name]}")


@pytest.mark.parametrize("name", CURES)
def test_contests_are_what_the_discriminators_phase_descends(name: str) -> None:
    share = 0.5 if name == "pix2pix" else 1.0  # of a loss halved, as in the paper
    model, columns = family(name), (torch.rand(6, 1, 32, 32), torch.rand(6, 1, 32, 32))
    drawn = model.shared_forward(*columns[: len(model.inputs)])
    rng.seed(0)
    losses = [game.discriminator(real, made) for game, real, made in model.real_and_fake_logits(*drawn).values()]
    rng.seed(0)  # for a VAE-GAN draws from the prior
    torch.testing.assert_close(model.discriminator_loss(*drawn)["loss"], share * sum(losses))


def test_a_discriminator_that_says_the_same_of_every_image_is_diagnosed_unless_there_is_nothing_to_tell(
    noise_images: Data,
) -> None:
    found = said(Match(0.2 * HEALTHY, slope=1e-4, r1={"weight": 100}), noise_images)
    assert sentences(found)["flat_discriminator"].endswith("model.regularizers.r1.weight=10")
    clipped = said(Match(0.2 * HEALTHY, slope=1e-4, clip={"bound": 0.01}), noise_images)
    assert sentences(clipped)["flat_discriminator"].endswith("model.regularizers.clip.bound=0.1")
    assert not sentences(said(Match(HEALTHY, slope=1e-4), noise_images))  # the samples are the data: an equilibrium


def test_a_gradient_penalty_whose_target_is_missed_is_diagnosed(noise_images: Data) -> None:
    penalty = {"gradient_penalty": {"weight": 10}}
    assert not sentences(said(Match(HEALTHY, loss="wasserstein", **penalty), noise_images))
    for slope in (0.01, 100):
        found = said(Match(HEALTHY, slope, loss="wasserstein", **penalty), noise_images)
        assert sentences(found)["gradient_penalty"].endswith("model.regularizers.gradient_penalty.weight=100")


def test_a_generator_that_jumps_is_diagnosed_at_the_second_jump_and_remembers_over_a_restart() -> None:
    two = torch.zeros(200, 1, 4, 4, dtype=torch.uint8)
    two[::2] = 255  # data of two modes
    data = in_memory(two + torch.randint(0, 3, two.shape, dtype=torch.uint8) * (two == 0))
    black, white = torch.zeros(60, 1, 4, 4), torch.ones(60, 1, 4, 4)
    evaluator = GANDiagnosis(images=60)
    assert "mode_shift" not in said(Match(black), data, evaluator)
    assert "oscillation" not in said(Match(white), data, evaluator)
    resumed = GANDiagnosis(images=60)
    resumed.memory = evaluator.memory
    found = said(Match(black), data, resumed)
    assert found["mode_shift"] == 1
    assert sentences(found)["oscillation"].endswith("model.regularizers.r1.weight=10")
    assert "oscillation" not in said(Match(black), data, resumed)  # it stays


def test_it_applies_to_every_game_and_to_nothing_else() -> None:
    spec = {"name": "mlp", "hidden": [8]}
    gan = MODELS.build({"name": "gan", "generator": spec, "discriminator": spec}, "model", image_shape=(1, 4, 4))
    assert GANDiagnosis().applies(gan)
    assert not GANDiagnosis().applies(Fixed(HEALTHY))
    assert isinstance(gan, nn.Module)

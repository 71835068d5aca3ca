"""Anomaly detection: scores, threshold, area under the curve and what is said of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from genlab.core.model import Model
from genlab.core.values import Diagnosis, Image
from genlab.data.datasets.digits import Digits
from genlab.data.loader import Data
from genlab.engine.evaluate import evaluate
from genlab.errors import ConfigError
from genlab.evaluation.anomaly import calibrate, score, scores
from genlab.evaluation.evaluators.reconstruction.anomaly import Anomaly
from genlab.registry import MODELS, discover
from genlab.reports.grid import image_grid

CPU = torch.device("cpu")


class Blank(Model):
    """Reconstructs every image as black: the error is the image's brightness."""

    def __init__(self, latent_dim: int = 8) -> None:
        super().__init__()
        self.latent_dim, self.scale = latent_dim, nn.Parameter(torch.zeros(()))

    def reconstruct(self, image: Tensor) -> Tensor:
        return image * self.scale


class Opinionated(Blank):
    """Its own score is the other way round."""

    def score(self, image: Tensor) -> Tensor:
        return -image.square().flatten(1).sum(1)


@pytest.fixture(scope="module")
def ones() -> Data:
    """Digits of which the ones are normal; a validation split large enough to count in."""
    discover()
    return Digits(classes=[1], valid=0.4).open(CPU)


def brightness(data: Data, *splits: str) -> Tensor:
    return torch.cat([data.split(name).take(10_000, ("image",))[0].square().flatten(1).sum(1) for name in splits])


def area_by_pairs(strange: Tensor, normal: Tensor) -> float:
    """The share of (strange, normal) pairs in the right order; a tie is half a pair."""
    pairs = strange[:, None] - normal[None]
    return float(((pairs > 0).double() + 0.5 * (pairs == 0)).mean())


def test_the_score_is_the_models_own_or_its_reconstructions_error(ones: Data) -> None:
    (image,) = ones.split("train").take(700, ("image",))
    error = image.square().flatten(1).sum(1)
    assert torch.allclose(score(Blank(), image), error)
    assert torch.allclose(score(Opinionated(), image), -error)
    assert torch.allclose(score(Opinionated(), image, "reconstruction"), error)
    with torch.no_grad():
        assert torch.allclose(scores(Blank(), ones.split("train"), batch_size=7), brightness(ones, "train"))
    with pytest.raises(ConfigError, match="cannot reconstruct"):
        score(Model(), image, "reconstruction")


class Memory(Blank):
    """Reconstructs exactly the images that it was trained on, and the others as black."""

    def __init__(self, train: Tensor) -> None:
        super().__init__()
        self.train_images = {image.numpy().tobytes() for image in train}

    def reconstruct(self, image: Tensor) -> Tensor:
        known = torch.tensor([each.numpy().tobytes() in self.train_images for each in image])
        return image * known[:, None, None, None]


def test_a_model_that_knows_its_training_images_by_heart_calls_few_new_ones_anomalies(ones: Data) -> None:
    model = Memory(ones.split("train").take(10_000, ("image",))[0])
    found = dict(evaluate(Anomaly(), model, ones, seed=0, split="test"))
    assert found["valid_threshold"] > 0
    assert found["valid_expected_rate_low"] < 0.05 < found["valid_expected_rate_high"]
    assert found["false_positive_rate"] < 0.25


def test_the_expected_rate_and_its_interval_are_those_of_repeated_calibrations() -> None:
    source = torch.Generator().manual_seed(0)
    drawn = torch.rand(4000, 50, generator=source)
    found = [calibrate(each, 0.9) for each in drawn]
    true_rates = torch.tensor([1 - each.value for each in found])  # of scores uniform in [0, 1]
    assert true_rates.mean().item() == pytest.approx(found[0].rate, abs=0.003)
    outside = (true_rates < found[0].low) | (true_rates > found[0].high)
    assert outside.double().mean().item() == pytest.approx(0.05, abs=0.01)
    assert (found[0].images, calibrate(drawn[0, :18], 0.95).rate) == (50, pytest.approx(1 / 19))
    assert "5.3% of normal images are expected above it" in str(calibrate(drawn[0, :18], 0.95))
    with pytest.raises(ConfigError, match="no validation image is normal"):
        calibrate(drawn[0, :0], 0.9)


def test_while_training_the_other_classes_validation_images_are_the_strange_ones(ones: Data) -> None:
    found = dict(evaluate(Anomaly(), Blank(), ones, seed=0))
    normal, strange = brightness(ones, "valid"), brightness(ones, "outside")
    assert found["auroc"] == pytest.approx(area_by_pairs(strange, normal))
    limit = calibrate(normal, 0.95).value
    assert found["valid_threshold"] == pytest.approx(limit)
    assert found["true_positive_rate"] == pytest.approx((strange > limit).double().mean().item())
    assert "false_positive_rate" not in found  # by construction of the threshold


def test_on_the_test_split_labels_say_which_image_is_strange(ones: Data) -> None:
    light, test = brightness(ones, "test"), ones.split("test")
    for normal in ([1], [0, 5]):
        found = dict(evaluate(Anomaly(normal=normal), Blank(), ones, seed=0, split="test"))
        inside = torch.isin(test.classes(), torch.tensor(normal))
        assert found["auroc"] == pytest.approx(area_by_pairs(light[~inside], light[inside]))
    shown = found["most_and_least_anomalous"]
    order = light.argsort(descending=True, stable=True)
    image = test.take(10_000, ("image",))[0]
    expected = image_grid(torch.cat([image[order[:16]], image[order[-16:]]]), 8)
    assert isinstance(shown, Image)
    assert torch.equal(shown.pixels, expected.pixels)


def test_below_chance_is_said_with_what_treats_it(ones: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    (too_much,) = said(Anomaly(), Blank(latent_dim=8), ones)  # these ones are brighter than other digits
    assert "AUROC 0." in too_much
    assert too_much.endswith("model.latent_dim=2")
    assert not said(Anomaly(), Opinionated(), ones)
    monkeypatch.setattr(Opinionated, "score", lambda self, image: image.flatten(1).sum(1))
    (own_score,) = said(Anomaly(), Opinionated(), ones)
    assert own_score.endswith("evaluator.anomaly.score=reconstruction")


def test_nothing_to_tell_apart_is_said_not_raised(ones: Data) -> None:
    everything = Digits().open(CPU)
    (advice,) = said(Anomaly(), Blank(), everything)
    assert "every image of the valid split is normal" in advice
    assert advice.endswith("dataset.classes=[0]")
    name, rate = evaluate(Anomaly(), Blank(), everything, seed=0, split="test")[0]
    limit = calibrate(brightness(everything, "valid"), 0.95).value
    assert name == "false_positive_rate"
    assert rate == pytest.approx((brightness(everything, "test") > limit).double().mean().item())
    assert not said(Anomaly(normal=[1]), Opinionated(), everything)


def test_what_was_measured_on_the_split_comes_before_what_validation_images_promise(
    ones: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name, _ in evaluate(Anomaly(), Blank(), ones, seed=0, split="test")]
    assert [name for name in names if not name.startswith("valid_")][:3] == names[:3]
    assert names[0] == "auroc"
    monkeypatch.setattr("genlab.data.loader.Split.classes", lambda split: None)
    above = brightness(ones, "test") > calibrate(brightness(ones, "valid"), 0.95).value
    name, rate = evaluate(Anomaly(), Blank(), ones, seed=0, split="test")[0]
    assert (name, rate) == ("flagged_rate", pytest.approx(above.double().mean().item()))


def test_a_class_that_nobody_has_is_refused(ones: Data) -> None:
    with pytest.raises(ConfigError, match=r"no image is of class 77; key evaluator.anomaly.normal; .* 0, 1, 2"):
        evaluate(Anomaly(normal=[77]), Blank(), ones, seed=0)


def said(evaluator: Anomaly, model: Model, data: Data) -> list[str]:
    return [value.sentence for _, value in evaluate(evaluator, model, data, seed=0) if isinstance(value, Diagnosis)]


def test_a_vae_scores_by_its_negative_bound() -> None:
    discover()
    torch.manual_seed(0)
    spec = {"name": "vae", "latent_dim": 3, "network": {"name": "mlp", "hidden": [7]}}
    model, image = MODELS.build(spec, "model", image_shape=(1, 8, 8)), torch.rand(5, 1, 8, 8).round()
    mean, log_variance = model.posterior(image)
    q = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    p = Independent(Bernoulli(logits=model.decoder(mean)), 3)
    bound = p.log_prob(image) - kl_divergence(q, Independent(Normal(torch.zeros(5, 3), torch.ones(5, 3)), 1))
    assert torch.allclose(model.score(image), -bound, rtol=1e-4)

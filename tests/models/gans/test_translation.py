"""Translation: pools, the losses against formulas written anew, and what is shown of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss

from genlab.core import rng
from genlab.core.model import Model
from genlab.distributed.runtime import Runtime
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.reconstruction.translations import Translation, Translations
from genlab.nn.layers.image_pool import ImagePool
from genlab.registry import MODELS
from tests.support.evaluated import MemorySplit
from tests.support.gloo import among
from tests.support.models import spec_of

# ---------------------------------------------------------------------- pools


def numbered(*values: float) -> Tensor:
    return torch.tensor(values)[:, None, None, None].expand(-1, 1, 2, 2).clone()


def test_a_pool_gives_back_what_comes_until_it_is_full() -> None:
    pool, chances = ImagePool(5, (1, 2, 2)), torch.zeros(2, 2)  # "exchange, for the first"
    for step in range(2):
        fakes = numbered(2 * step + 1, 2 * step + 2)
        assert torch.equal(pool.show(fakes, chances), fakes)
        pool.store(fakes, chances)
    assert pool.images[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 0]
    pool.store(numbered(5, 6), chances)  # one place is left
    assert pool.images[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert pool.held == 5


def test_a_full_pool_exchanges_half_of_what_comes() -> None:
    """Against a loop over single images, as the authors' code has it."""
    pool, size = ImagePool(10, (1, 2, 2)), 10
    kept: list[float] = []
    exchanged = 0
    for step in range(300):
        rng.seed(step)
        fake = numbered(float(step))
        chances = ImagePool.chances(1, fake)
        shown = pool.show(fake, chances)[0, 0, 0, 0].item()
        pool.store(fake, chances)
        change, place = chances[0].tolist()
        if len(kept) < size:
            wanted = float(step)
            kept.append(wanted)
        elif change < 0.5:
            wanted, kept[int(place * size)] = kept[int(place * size)], float(step)
            exchanged += 1
        else:
            wanted = float(step)
        assert shown == wanted
        assert pool.images[:, 0, 0, 0].tolist()[: len(kept)] == kept
    assert 110 < exchanged < 180


def test_rows_that_want_one_place_come_one_after_another() -> None:
    pool = ImagePool(2, (1, 2, 2))
    pool.store(numbered(1, 2), torch.ones(2, 2))
    chances = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.9, 0.0]])
    assert pool.show(numbered(3, 4, 5), chances)[:, 0, 0, 0].tolist() == [1, 1, 5]
    pool.store(numbered(3, 4, 5), chances)
    assert pool.images[:, 0, 0, 0].tolist() == [4, 2]


def cyclegan(**keys: Any) -> Model:
    generator = {"name": "resnet_translator", "base_channels": 2, "blocks": 1}
    spec = {
        **spec_of("cyclegan"),
        "generator": generator,
        "discriminator": {"name": "patchgan", "base_channels": 2},
        **keys,
    }
    model: Model = MODELS.build(spec, "model", image_shape=(1, 8, 8))
    return model


def test_two_ranks_fill_one_pool(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, a, b = cyclegan(image_pool_size=3), torch.rand(8, 1, 8, 8), torch.rand(8, 1, 8, 8)

    def pools(runtime: Runtime | None = None) -> list[Tensor]:
        rank, world_size = (runtime.rank, runtime.world_size) if runtime else (0, 1)
        for step in range(3):
            rng.seed(step)
            drawn = model.shared_forward(a.chunk(world_size)[rank], b.chunk(world_size)[rank])
            with torch.no_grad(), rng.replicated():
                model.store(*(runtime.gather(drawn) if runtime else drawn))  # type: ignore[operator]
        return [model.pools[domain].images.clone() for domain in "XY"]  # type: ignore[index,union-attr]

    two = among(2, tmp_path / "two", pools)
    one = pools()
    for k in (0, 1):
        assert torch.equal(two[0][k], two[1][k])
        assert torch.allclose(one[k], two[0][k], atol=1e-6)


# ---------------------------------------------------------------------- losses


def test_pix2pix_descends_its_equations() -> None:
    torch.manual_seed(0)
    networks = {
        "generator": {"name": "unet", "base_channels": 2, "dropout": 0.0},
        "discriminator": {"name": "patchgan", "base_channels": 2},
    }
    model = MODELS.build({**spec_of("pix2pix"), **networks}, "model", image_shape=(3, 16, 16))
    a, b = torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16)
    drawn = model.shared_forward(a, b)
    made = model.translate(a)
    assert torch.allclose(drawn[2], 2 * made - 1, atol=1e-5)
    real, fake = (model.discriminator(torch.cat([2 * a - 1, 2 * x - 1], dim=1)) for x in (b, made))
    assert real.shape[1:] == (1, 2, 2)
    one, zero = torch.ones_like(real), torch.zeros_like(real)
    said = model.discriminator_loss(*drawn)
    wanted = (binary_cross_entropy_with_logits(real, one) + binary_cross_entropy_with_logits(fake, zero)) / 2
    assert said["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)
    said = model.generator_loss(*drawn)
    l1 = l1_loss(2 * made - 1, 2 * b - 1)
    assert said["l1"].item() == pytest.approx(l1.item(), rel=1e-5)
    wanted = binary_cross_entropy_with_logits(fake, one) + 100 * l1
    assert said["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)
    error = (made - b).square().flatten(1).mean(1)
    assert model.generator_metrics(*drawn)["psnr"].item() == pytest.approx(
        (-10 * error.log10()).mean().item(), rel=1e-4
    )


@pytest.mark.parametrize("identity", [0.0, 5.0])
def test_cyclegan_descends_its_equations(identity: float) -> None:
    torch.manual_seed(0)
    model = cyclegan(lambda_identity=identity)
    a, b = torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8)
    x, y = 2 * a - 1, 2 * b - 1
    drawn = model.shared_forward(a, b)
    forth, back = model.translate, model.translate_back  # type: ignore[attr-defined]
    G, F = (lambda x: 2 * forth((x + 1) / 2) - 1), (lambda y: 2 * back((y + 1) / 2) - 1)
    D: Any = model.discriminators

    def score(domain: str, picture: Tensor, target: float) -> Tensor:
        logits = D[domain](picture)
        return mse_loss(logits, torch.full_like(logits, target))

    gan = score("Y", G(x), 1) + score("X", F(y), 1)
    cycle = l1_loss(F(G(x)), x) + l1_loss(G(F(y)), y)
    same = l1_loss(G(y), y) + l1_loss(F(x), x)
    said = model.generator_loss(*drawn)  # type: ignore[operator]
    assert said["cycle"].item() == pytest.approx(cycle.item(), rel=1e-4)
    assert said["loss"].item() == pytest.approx((gan + 10 * cycle + identity * same).item(), rel=1e-4)
    assert ("identity" in said) == bool(identity)
    said = model.discriminator_loss(*drawn)  # type: ignore[operator]
    halves = [score("X", x, 1), score("X", F(y), 0), score("Y", y, 1), score("Y", G(x), 0)]
    assert said["loss"].item() == pytest.approx(sum(halves).item() / 2, rel=1e-4)


def test_the_discriminators_see_the_pools_while_training_only() -> None:
    torch.manual_seed(0)
    model = cyclegan(image_pool_size=1)
    a, b = torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8)
    rng.seed(0)
    drawn = model.shared_forward(a, b)
    before = model.discriminator_loss(*drawn)["loss"].item()  # type: ignore[operator]
    for domain in "XY":
        model.pools[domain].store(torch.ones(1, 1, 8, 8), torch.ones(1, 2))  # type: ignore[index,union-attr]
    assert model.discriminator_loss(*drawn)["loss"].item() != before  # type: ignore[operator]
    assert model.eval().discriminator_loss(*drawn)["loss"].item() == pytest.approx(before)  # type: ignore[operator]


# ---------------------------------------------------------------------- evaluators


class Invert(Model):
    inputs = ("a", "b")

    def translate(self, image: Tensor) -> Tensor:
        return 1 - image


class ThereAndBack(Invert):
    def translate_back(self, image: Tensor) -> Tensor:
        return image / 2


class Pairs(MemorySplit):
    def __init__(self, image: Tensor, aligned: bool = True, **columns: Tensor) -> None:
        super().__init__(image, None, **columns)
        self.table = SimpleNamespace(name="pairs", aligned=aligned)


def test_translation_measures_the_distance_to_partners() -> None:
    a = torch.rand(7, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    found = dict(Translation(batch_size=3).run(Invert(), Pairs(a, a=a, b=1 - a)))  # type: ignore[arg-type]
    assert found["l1"] == pytest.approx(0, abs=1e-7)
    assert found["psnr"] == pytest.approx(100)
    assert found["ssim"] == pytest.approx(1)
    assert found["input_l1"] == pytest.approx((1 - 2 * a).abs().mean().item())
    pairs = Pairs(a, aligned=False, a=a, b=a)
    with pytest.raises(ConfigError, match="no targets"):
        dict(Translation().run(Invert(), pairs))  # type: ignore[arg-type]


@pytest.mark.parametrize(("model", "rows"), [(Invert(), "a ab b"), (ThereAndBack(), "a ab aba b ba bab")])
def test_translations_are_laid_out_in_rows(model: Model, rows: str) -> None:
    a, b = torch.full((2, 1, 64, 64), 0.2), torch.full((2, 1, 64, 64), 0.6)
    wanted = {"a": 0.2, "ab": 0.8, "aba": 0.4, "b": 0.6, "ba": 0.3, "bab": 0.7}
    [(name, picture)] = Translations(n=2).run(model, Pairs(a, a=a, b=b))  # type: ignore[arg-type]
    assert name == "translations"
    pixels = picture.pixels[0]  # type: ignore[union-attr]
    assert pixels.shape == (2 + 66 * len(rows.split()), 2 + 66 * 2)
    for k, row in enumerate(rows.split()):
        assert pixels[2 + 66 * k, 2].item() == round(255 * wanted[row])

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model, Phase
from genlab.core.values import Image
from genlab.evaluation.evaluators.image_grids import Reconstructions, SamplesGrid, Traversals
from genlab.evaluation.evaluators.latent.maps import Codes
from genlab.evaluation.evaluators.likelihood.objective import Objective
from genlab.registry import MODELS, discover
from genlab.reports.grid import image_grid
from tests.support.evaluated import MemorySplit, Players, Shrinker
from tests.support.models import shrunk, spec_of

discover()


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 99])
def test_objective_is_the_mean_over_images(images: Tensor, batch_size: int) -> None:
    images[9] = 100.0  # alone in the last batch of 3 or 1: a mean of batches' means would be far off
    values = dict(Objective(batch_size).run(Shrinker(), MemorySplit(images)))
    assert list(values) == ["loss", "largest"]
    assert values["loss"] == pytest.approx(images.double().sum((1, 2, 3)).mean().item(), rel=1e-6)
    assert values["largest"] == pytest.approx(images.double().amax((1, 2, 3)).mean().item(), rel=1e-6)


def test_objective_names_each_player_and_never_updates(images: Tensor) -> None:
    values = dict(Objective(4).run(Players(), MemorySplit(images)))
    mean = images.mean().item()
    assert values == pytest.approx({"discriminator/loss": mean, "generator/loss": 2 * mean})


@pytest.mark.parametrize("name", ["dcgan", "infogan", "cyclegan"])
def test_discriminators_are_judged_with_the_statistics_of_their_batches(name: str) -> None:
    """In training they see real and generated images apart; running statistics mix the two."""
    spec = shrunk(spec_of(name))
    spec["discriminator"]["norm"] = "batch"
    model = MODELS.build(spec, "model", image_shape=(1, 28, 28), num_classes=None).eval()
    image = torch.rand(9, 1, 28, 28, generator=torch.Generator().manual_seed(0))

    def found() -> dict[str, float]:
        rng.seed(0, 0)
        return {key: float(value) for key, value in Objective(4).run(model, MemorySplit(image, a=image, b=1 - image))}

    expected = found()
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    discriminators = [phase.module for phase in model.phases() if phase.name.startswith("discriminator")]
    within = [layer for layer in layers if any(layer in set(each.modules()) for each in discriminators if each)]
    assert within
    for layer in within:
        layer.running_mean.fill_(7.0)
    assert found() == expected
    assert all((layer.running_mean == 7).all() for layer in within)


def test_objective_of_a_lone_player_beside_updates_is_named_plainly(images: Tensor) -> None:
    model = Players()
    model.phases = lambda: Players.phases(model)[1:]  # type: ignore[method-assign]
    assert dict(Objective(4).run(model, MemorySplit(images))) == pytest.approx({"loss": 2 * images.mean().item()})


def test_objective_does_not_apply_to_updates_alone() -> None:
    model = Players()
    model.phases = lambda: [Players.phases(model)[2]]  # type: ignore[method-assign]
    assert not Objective().applies(model)
    assert Objective().applies(Players())


def test_objective_of_updates_alone_is_the_models_loss_if_it_has_one(images: Tensor) -> None:
    class Updated(Players):
        def phases(self) -> list[Phase]:
            return super().phases()[2:]

        def loss(self, one: Tensor, two: Tensor) -> dict[str, Tensor]:
            return {"loss": one.mean(), "twice": two.mean()}

    mean = images.mean().item()
    assert dict(Objective(3).run(Updated(), MemorySplit(images))) == pytest.approx({"loss": mean, "twice": 2 * mean})


def test_samples_are_the_same_for_the_same_seed() -> None:
    def draw(seed: int) -> Tensor:
        rng.seed(seed)
        ((name, picture),) = SamplesGrid(5).run(Shrinker(), None)
        assert name == "samples"
        assert isinstance(picture, Image)
        return picture.pixels

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_reconstructions_stand_below_their_originals(images: Tensor) -> None:
    ((_, picture),) = Reconstructions(n=9, columns=4).run(Shrinker(), MemorySplit(images))
    assert isinstance(picture, Image)
    rows = torch.cat([images[:4], 1 - images[:4], images[4:8], 1 - images[4:8]])  # the ninth would be half a row
    assert torch.equal(picture.pixels, image_grid(rows, 4).pixels)


def test_reconstructions_of_a_split_smaller_than_a_row(images: Tensor) -> None:
    ((_, picture),) = Reconstructions(n=32, columns=8).run(Shrinker(), MemorySplit(images[:3]))
    assert isinstance(picture, Image)
    assert torch.equal(picture.pixels, image_grid(torch.cat([images[:3], 1 - images[:3]]), 3).pixels)


def test_embedding_has_codes_thumbnails_and_labels_where_there_are_any(images: Tensor) -> None:
    ((name, embedding),) = Codes(n=6).run(Shrinker(), MemorySplit(images, torch.arange(10)))
    assert name == "codes"
    assert torch.equal(embedding.codes, images.flatten(1)[:6, :3])
    assert torch.equal(embedding.thumbnails, images[:6])
    assert embedding.labels.tolist() == [0, 1, 2, 3, 4, 5]
    for split in (MemorySplit(images), MemorySplit(images, torch.rand(10, 40))):  # no labels; several an image
        ((_, embedding),) = Codes(n=99).run(Shrinker(), split)
        assert embedding.labels is None
        assert len(embedding.codes) == 10


def test_traversals_sweep_the_most_varied_dimension_first(images: Tensor) -> None:
    images[:, 0, 0, 1] *= 0.1
    images[:, 0, 0, 0] = torch.linspace(0.3, 0.6, 10)
    images[:, 0, 0, 2] = 0.5
    ((_, picture),) = Traversals(dimensions=2, columns=3, reach=1.0).run(Shrinker(), MemorySplit(images))
    assert isinstance(picture, Image)
    first = images[:, 0, 0, 0]
    swept = [first.mean() - first.std(correction=0), first.mean(), first.mean() + first.std(correction=0)]
    shown = picture.pixels[0, 10, [10, 76, 142]].tolist()  # inside the three images of the first row
    assert shown == pytest.approx([255 * value.item() for value in swept], abs=1)
    assert picture.pixels[0, 76, [10, 76, 142]].tolist() == pytest.approx([255 * 0.3] * 3, abs=1)


def test_evaluators_apply_to_what_a_model_can_do() -> None:
    for evaluator in (SamplesGrid(), Reconstructions(), Codes(), Traversals()):
        assert evaluator.applies(Shrinker())
        assert not evaluator.applies(Model())


def test_grid_places_enlarges_and_rounds() -> None:
    images = torch.tensor([0.0, 0.5, 2.0]).reshape(3, 1, 1, 1)
    pixels = image_grid(images, columns=2, gap=1, side=2).pixels[0]
    white, gray = 255, 128
    assert pixels.tolist() == [
        [white] * 7,
        [white, 0, 0, white, gray, gray, white],
        [white, 0, 0, white, gray, gray, white],
        [white] * 7,
        [white] * 7,  # the third image is white (2.0 is cut to 1) and the fourth place is empty
        [white] * 7,
        [white] * 7,
    ]


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (64, 8), (65, 9)])
def test_grid_is_nearly_square(count: int, columns: int) -> None:
    pixels = image_grid(torch.zeros(count, 3, 1, 1), gap=0, side=1).pixels
    assert tuple(pixels.shape) == (3, -(-count // columns), columns)


def test_grid_refuses_what_is_no_picture() -> None:
    for shape in ((0, 1, 4, 4), (2, 2, 4, 4), (1, 4, 4)):
        with pytest.raises(ValueError, match="a grid takes images"):
            image_grid(torch.zeros(shape))


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_pixel(images: Tensor, channels: int) -> None:
    picture = image_grid(images.expand(-1, channels, -1, -1), gap=1, side=1)
    image = PIL.Image.open(io.BytesIO(picture.png))
    assert image.mode == ("L" if channels == 1 else "RGB")
    pixels = torch.tensor(np.asarray(image)).reshape(*image.size[::-1], channels)
    assert torch.equal(pixels.permute(2, 0, 1), picture.pixels)


def test_a_map_keeps_groups_of_codes_apart_and_colors_them() -> None:
    from genlab.evaluation.evaluators.latent.maps import TSNEMap
    from genlab.reports.scatter import COLORS

    noise = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    label = torch.arange(60) % 2
    images = 0.05 * noise + 0.9 * label[:, None, None, None]
    found = dict(TSNEMap(n=60, perplexity=10).run(Shrinker(), MemorySplit(images, label)))
    assert 0 <= found["kl_divergence"] < 2
    pixels = found["map"].pixels[:, :, 40:].permute(1, 2, 0)  # right of the legend
    places = []
    for color in COLORS[:2]:
        rgb = torch.tensor(list(bytes.fromhex(color[1:])), dtype=torch.uint8)
        places.append((pixels == rgb).all(2).nonzero().double())
    assert all(len(place) > 100 for place in places)
    apart = (places[0].mean(0) - places[1].mean(0)).norm()
    assert apart > 2 * max(place.std(0).norm() for place in places)

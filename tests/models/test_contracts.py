"""What every model promises, for every YAML of configs/model and every shape a data set can have."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import (
    CAPABILITIES,
    Decodes,
    Denoises,
    Encodes,
    HasFilters,
    HasPrior,
    Inpaints,
    Model,
    Reconstructs,
    Samples,
    Scores,
    Shape,
    Translates,
    TranslatesBack,
    capabilities,
)
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.likelihood.objective import Objective
from genlab.models.autoregressive.pixelcnn import PixelCNN
from genlab.registry import MODELS
from tests.support.evaluated import MemorySplit
from tests.support.models import CONFIGS, LARGE_SHAPES, SHAPES, spec_of

Build = Callable[[Shape], Model]
N = 4


def columns(model: Model, image: Tensor, names: tuple[str, ...] | None = None) -> list[Tensor]:
    """What `model` takes beside these images: labels of ten classes, another image for any other column."""
    label = torch.arange(len(image)) % 10
    return [{"image": image, "label": label}.get(name, 1 - image) for name in names or model.inputs]


def given(model: Model, image: Tensor) -> list[Tensor]:
    """The columns that `encode` and `reconstruct` take."""
    return columns(model, image, ("image", *model.conditions))


def a_step(model: Model, image: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Every phase's scalars for one batch, drawn once, named phase/quantity."""
    rng.seed(seed)
    drawn = model.shared_forward(*columns(model, image))
    return {f"{p.name}/{key}": value for p in model.phases() for key, value in p.objective(*drawn).items()}


def built(build: Build, shape: Shape) -> Model:
    """The model for this shape; where it cannot be, the error names a size that works, and the test ends there."""
    try:
        return build(shape)
    except ConfigError as error:
        text = str(error)
        assert shape[1] > 32, text  # the usual sizes are for everyone
        assert "\n" not in text
        size = re.search(r"dataset\.size=(\d+)", text)
        assert size, text
        build((shape[0], int(size[1]), int(size[1])))
        pytest.skip(text)


def test_yaml_keys_are_the_constructors_parameters(preset: str) -> None:
    spec = spec_of(preset)
    assert set(spec) - {"name"} == MODELS.schema(spec["name"]).model_fields.keys()


def test_every_line_of_the_yaml_is_explained(preset: str) -> None:
    first, *lines = (CONFIGS / "model" / f"{preset}.yaml").read_text().splitlines()
    assert first.startswith("# ")
    keys = [line for line in lines if ":" in line and not line.strip().startswith(("#", "name:", "defaults:"))]
    sections = [line for line in keys if line.rstrip().endswith(":")]
    assert [line for line in keys if "#" not in line and line not in sections] == []


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64)])
def test_the_yaml_as_it_stands_builds(preset: str, shape: Shape) -> None:
    model = built(lambda shape: MODELS.build(spec_of(preset), "model", image_shape=shape, num_classes=10), shape)
    assert isinstance(model, Model)


@pytest.mark.parametrize("shape", [*SHAPES, *LARGE_SHAPES], ids=str)
def test_losses_are_finite_and_gradients_fill_the_phase(small: Build, shape: Shape) -> None:
    model = built(small, shape)
    drawn = model.shared_forward(*columns(model, torch.rand(N, *shape)))
    phases = model.phases()
    reached: dict[int, set[str]] = {}  # a penalty, a further phase of a module, need not reach its biases
    for phase in phases:
        model.zero_grad(set_to_none=True)
        if phase.module is None:
            with torch.no_grad():
                values = phase.objective(*drawn)
            assert all(value.shape == () and value.isfinite() for value in values.values())
            continue
        values = phase.objective(*drawn)
        assert all(value.shape == () and value.isfinite() for value in values.values())
        values["loss"].backward(retain_graph=True)
        gradients = {name: p.grad for name, p in phase.module.named_parameters() if p.grad is not None}
        assert all(gradient.isfinite().all() for gradient in gradients.values())
        assert sum(gradient.abs().sum() for gradient in gradients.values()) > 0
        reached.setdefault(id(phase.module), set()).update(gradients)
    for phase in phases:
        if phase.module is not None:
            learning = {name for name, p in phase.module.named_parameters() if p.requires_grad}
            assert learning - reached[id(phase.module)] == set()


@pytest.mark.parametrize("shape", [*SHAPES, *LARGE_SHAPES], ids=str)
def test_capabilities_give_what_they_say(small: Build, shape: Shape) -> None:
    model, image = built(small, shape), torch.rand(N, *shape)
    a_step(model, image)  # a model that learns by updates alone has seen images before it is asked
    model.eval()
    assert capabilities(model)
    pictures, codes = [], []
    with torch.no_grad():
        if isinstance(model, Samples) and not (shape in LARGE_SHAPES and isinstance(model, PixelCNN)):
            pictures.append(model.sample(N))  # 65,536 pixels one by one take a minute, and are as 4,096
        if isinstance(model, Reconstructs):
            pictures.append(model.reconstruct(*given(model, image)))
        ways = [(Translates, "translate"), (TranslatesBack, "translate_back")]
        pictures += [getattr(model, name)(image) for kind, name in ways if isinstance(model, kind)]
        if isinstance(model, HasPrior):
            codes.append(model.prior(N))
        if isinstance(model, Encodes):
            codes.append(model.encode(*given(model, image)))
        if isinstance(model, Decodes):
            pictures += [model.decode(code) for code in codes]
        if isinstance(model, Scores):
            assert model.score(*given(model, image)).shape == (N,)
        if isinstance(model, HasFilters):
            assert model.filters().shape[1:2] in ((1,), (3,))
    for code in codes:
        assert code.shape == (N, codes[0].shape[1])
    for picture in pictures:
        assert picture.shape == (N, *shape)
        assert picture.dtype == torch.float32
        assert picture.min() >= 0
        assert picture.max() <= 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8)], ids=str)  # inpainting takes a hundred calls of the network
def test_restored_images_are_images(small: Build, shape: Shape) -> None:
    model, image = built(small, shape).eval(), torch.rand(N, *shape)
    unknown, restored = image[:, :1] > 0.5, list[Tensor]()
    with torch.no_grad():
        if isinstance(model, Denoises):
            restored += model.denoise(image, 0.2)
        if isinstance(model, Inpaints):
            restored.append(model.inpaint(image, unknown))
            assert torch.equal(restored[-1].masked_fill(unknown, 0), image.masked_fill(unknown, 0))
    if not restored:
        pytest.skip("restores by reconstruction alone, if at all")
    for picture in restored:
        assert picture.shape == image.shape
        assert picture.dtype == torch.float32
        assert 0 <= picture.min() <= picture.max() <= 1


def test_the_noise_seed_decides_everything(small: Build) -> None:
    shape, image = (1, 8, 8), torch.rand(N, 1, 8, 8)
    model = small(shape).eval()  # batch norm's averages stand still
    # copies: an update without gradients (PCA's) changes what it is asked of
    first, again, other = (a_step(copy.deepcopy(model), image, seed) for seed in (0, 0, 1))
    assert first == again
    descends = any(phase.module is not None for phase in model.phases())
    if isinstance(model, HasPrior):
        assert first != other or not descends  # PCA samples, but learns without noise
        rng.seed(3)
        prior = model.prior(N)
        rng.seed(3)
        assert torch.equal(prior, model.prior(N))


def test_two_ranks_draw_what_one_draws(small: Build) -> None:
    model = small((1, 8, 8))
    if not isinstance(model, HasPrior):
        pytest.skip("draws no noise")
    rng.seed(0)
    whole = model.prior(6)
    halves = []
    try:
        for rank in (0, 1):
            rng.set_rank(rank, 2)
            rng.seed(0)
            halves.append(model.prior(3))
    finally:
        rng.set_rank(0, 1)
    assert torch.equal(torch.cat(halves), whole)


def test_the_state_goes_round(small: Build) -> None:
    torch.manual_seed(0)
    model, image = small((3, 8, 8)), torch.rand(N, 3, 8, 8)
    with torch.no_grad():  # where the last layer starts at zero, all initial weights give the same losses
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    a_step(model, image)  # batch norm's averages move
    twin = small((3, 8, 8))
    assert a_step(model.eval(), image) != a_step(twin.eval(), image)
    twin.load_state_dict(model.state_dict())
    assert a_step(model, image) == a_step(twin, image)


def test_what_is_monitored_is_logged(small: Build) -> None:
    model = small((1, 8, 8))
    image, label = columns(model, torch.rand(N, 1, 8, 8), ("image", "label"))
    a_step(model, image)  # a model that learns by updates alone has seen images before it is asked
    names = dict(Objective().run(model.eval(), MemorySplit(image, label, a=image, b=1 - image)))  # type: ignore[arg-type]
    assert model.monitor in {None, "quick_fid", *names}


def test_what_is_logged_is_explained(small: Build) -> None:
    """docs/reading-the-logs.md names each value, with or without its phase."""
    explained = set(re.findall(r"`([^`\s]+)`", (CONFIGS.parent / "docs/reading-the-logs.md").read_text()))
    names = a_step(small((1, 8, 8)), torch.rand(N, 1, 8, 8))
    assert [name for name in names if not {name, name.rpartition("/")[2]} & explained] == []


def test_what_a_model_may_have_is_explained() -> None:
    """docs/adding-a-model.md explains each method and attribute of the contract in a table row or a bullet."""
    prose = re.sub(r"```.*?```", "", (CONFIGS.parent / "docs/adding-a-model.md").read_text(), flags=re.DOTALL)
    terms = re.findall(r"^\| ([^|]*) \|", prose, re.M) + re.findall(r"^- (`[^.]*?`(?: and `[^.]*?`)?)", prose, re.M)
    spans = [span for term in terms for span in re.findall(r"`([^`]+)`", term)]
    explained = {name for span in spans for name in re.findall(r"\w+", span)}
    wanted = {name for kind in (Model, *CAPABILITIES) for name in {*vars(kind), *kind.__annotations__}}
    assert sorted(name for name in wanted - explained if not name.startswith("_")) == []


def test_bfloat16_autocast_keeps_losses_in_float32(small: Build) -> None:
    model = small((1, 28, 28))
    with torch.autocast("cpu", torch.bfloat16):
        values = a_step(model, torch.rand(N, 1, 28, 28))
    assert all(value.dtype == torch.float32 and value.isfinite() for value in values.values())

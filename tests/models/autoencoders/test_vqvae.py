"""VQ-VAE: rounding and its gradient, the codebook's averages, when the prior learns, exact bits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.values import Diagnosis, Image
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.likelihood.codebook import BitsPerDimEvaluator, CodebookUse, histogram
from genlab.models.autoencoders.vqvae import VQVAE
from genlab.nn.layers.vector_quantizer import Codebook, perplexity
from genlab.nn.losses.likelihood import discretized_logistic_nll
from genlab.nn.networks.vqvae import vqvae
from genlab.registry import MODELS
from tests.support.models import shrunk, spec_of


def small(shape: tuple[int, int, int] = (1, 8, 8), **changes: Any) -> VQVAE:
    torch.manual_seed(0)
    spec = shrunk(spec_of("vqvae")) | changes
    model = MODELS.build(spec, "model", image_shape=shape)
    assert isinstance(model, VQVAE)
    return model


class Images:
    """A split of given images."""

    def __init__(self, image: Tensor) -> None:
        self.image = image

    def batches(self, names: tuple[str, ...], size: int, rank: int = 0, world_size: int = 1) -> Any:
        assert names == ("image",)
        return ((part,) for part in self.image.split(size))


# ---------------------------------------------------------------- codebook


def test_nearest_is_the_smallest_distance() -> None:
    book = Codebook(7, 3, ema=False, decay=0.9, dead_code_threshold=0)
    torch.nn.init.normal_(book.vectors)
    z = torch.randn(2, 3, 4, 5)
    distance = torch.cdist(z.movedim(1, -1).flatten(0, -2).double(), book.vectors.double())
    index = book.nearest(z)
    assert torch.equal(index.flatten(), distance.argmin(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(book.nearest(z), index)  # rounding to 8 bits would choose others
    assert torch.equal(book(index)[1, :, 2, 3], book.vectors[index[1, 2, 3]])


def test_the_averages_are_those_of_the_appendix() -> None:
    """Against a loop over codes and batches."""
    decay, codes = 0.8, 3
    book = Codebook(codes, 2, ema=True, decay=decay, dead_code_threshold=0)
    torch.nn.init.normal_(book.vectors)
    counts, sums = torch.zeros(codes), torch.zeros(codes, 2)
    for _ in range(4):
        z = torch.randn(5, 2, 3, 3)
        index = book.nearest(z)
        index[0, 0, :] = torch.arange(codes)  # each code has something to stand for
        rows = z.movedim(1, -1)
        for code in range(codes):
            found = rows[index == code]
            counts[code] = decay * counts[code] + (1 - decay) * len(found)
            sums[code] = decay * sums[code] + (1 - decay) * found.sum(0)
        book.update(z, index)
        assert torch.allclose(book.vectors, sums / counts[:, None], atol=1e-4)
    assert torch.allclose(book.counts, counts)


def test_without_revival_a_code_that_stands_for_nothing_keeps_its_place() -> None:
    book = Codebook(3, 2, ema=True, decay=0.5, dead_code_threshold=0)
    before = book.vectors.clone()
    z = torch.full((1, 2, 2, 2), 5.0)
    book.update(z, torch.zeros(1, 2, 2, dtype=torch.long))
    assert torch.equal(book.vectors[1:], before[1:])
    assert torch.allclose(book.vectors[0], torch.tensor([5.0, 5.0]))  # a mean of the data alone, not of the start
    for _ in range(200):  # far beyond where its average count is no float any more
        book.update(z, torch.ones(1, 2, 2, dtype=torch.long))
    assert torch.allclose(book.vectors[:2], torch.tensor(5.0))
    assert torch.equal(book.vectors[2], before[2])


def test_revival_brings_codes_into_use() -> None:
    """Sixteen narrow clusters and as many codes, which start together: nearly all are found."""
    rng.seed(0)
    torch.manual_seed(0)
    book = Codebook(16, 2, ema=True, decay=0.9, dead_code_threshold=0.1)
    centers = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)) - 1.5
    for _ in range(100):
        z = (centers[torch.randint(16, (256,))] + 0.05 * torch.randn(256, 2)).view(1, 16, 16, 2).movedim(-1, 1)
        book.update(z, book.nearest(z))
    assert float(perplexity(book.tally(book.nearest(z)))) > 12


def test_dead_codes_are_put_where_the_data_are() -> None:
    book = Codebook(6, 2, ema=True, decay=0.5, dead_code_threshold=0.5)
    z = torch.stack([torch.full((4, 4), 10.0), torch.full((4, 4), -7.0)])[None] + 0.1 * torch.rand(1, 2, 4, 4)
    rng.seed(0)
    book.update(z, book.nearest(z))
    rows = {tuple(row) for row in z.movedim(1, -1).flatten(0, -2).tolist()}
    seeded = [tuple(vector) in rows for vector in book.vectors.tolist()]
    assert sum(seeded) >= 5  # one code may have stood for all of them
    alive = book.counts.clone()
    book.update(z, torch.zeros(1, 4, 4, dtype=torch.long))
    assert (book.counts[1:] < alive[1:]).all()  # a code with a new place has some time to be found


def test_a_codebook_without_averages_keeps_its_gradient_and_is_revived() -> None:
    model = small(codebook="gradient", dead_code_threshold=0.1)
    drawn = model.shared_forward(torch.rand(4, 1, 8, 8))
    model.quantize(*drawn)["loss"].backward()
    z, k = drawn[1].detach(), drawn[2]
    # of equation 3's middle term alone: 2 Σ (e − z), over the batch
    wanted = torch.zeros_like(model.codebook.vectors)
    for row, code in zip(z.movedim(1, -1).flatten(0, -2), k.flatten(), strict=True):
        wanted[code] += 2 * (model.codebook.vectors[code].detach() - row) / 4
    assert model.codebook.vectors.grad is not None
    assert torch.allclose(model.codebook.vectors.grad, wanted, atol=1e-5)
    before = model.codebook.vectors.detach().clone()
    model.update_codebook(*drawn)
    assert not torch.equal(before, model.codebook.vectors)


def test_a_model_at_rest_does_not_follow() -> None:
    model = small().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.update_codebook(*model.shared_forward(torch.rand(4, 1, 8, 8)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(("tally", "wanted"), [([5.0, 0, 0], 1), ([2.0, 2, 2], 3), ([1.0, 1, 0], 2)])
def test_perplexity(tally: list[float], wanted: float) -> None:
    assert float(perplexity(torch.tensor(tally))) == pytest.approx(wanted)


def test_the_gradient_goes_straight_past_the_rounding() -> None:
    """With β = 0 the encoder's output has the gradient that the decoder gives its input, the codes' vectors."""
    model = small(beta=0.0)
    image, z, k = model.shared_forward(torch.rand(3, 1, 8, 8))
    z = z.detach().requires_grad_()
    model.quantize(image, z, k)["loss"].backward()
    e = model.codebook(k).detach().requires_grad_()
    model.nll(model.decoder(e), image).mean().backward()
    assert z.grad is not None
    assert e.grad is not None
    assert torch.allclose(z.grad, e.grad, atol=1e-6)
    assert z.grad.abs().sum() > 0


def test_commitment_has_its_own_gradient() -> None:
    """The part of the encoder's gradient that β adds is 2β(z − e), over the batch."""
    grads = []
    for beta in (0.0, 0.5):
        model = small(beta=beta)
        image, z, k = model.shared_forward(torch.linspace(0, 1, 128).view(2, 1, 8, 8))
        z = z.detach().requires_grad_()
        model.quantize(image, z, k)["loss"].backward()
        assert z.grad is not None
        grads.append(z.grad)
    assert torch.allclose(grads[1] - grads[0], 2 * 0.5 * (z - model.codebook(k)).detach() / 2, atol=1e-5)


# ---------------------------------------------------------------- prior


def test_the_prior_trains_last_and_touches_no_code() -> None:
    model = small(prior_fraction=0.25)
    windows = {phase.name: phase.window for phase in model.phases()}
    assert windows == {"codes": (0, 0.75), "codebook": (0, 0.75), "prior": (0.75, 1)}
    model.prior_loss(*model.shared_forward(torch.rand(2, 1, 8, 8)))["loss"].backward()
    assert all(p.grad is None for net in (model.encoder, model.decoder, model.codebook) for p in net.parameters())


# ---------------------------------------------------------------- bits


@pytest.mark.parametrize("log_scale", [-6.0, -3.0, 0.5])
@pytest.mark.parametrize("mean", [-0.2, 0.0, 0.4, 1.3])
def test_256_levels_share_one_unit_of_probability(mean: float, log_scale: float) -> None:
    x = (torch.arange(256) / 255).view(-1, 1)
    nll = discretized_logistic_nll(torch.full_like(x, mean), x, torch.tensor(log_scale))
    assert float(nll.double().neg().exp().sum()) == pytest.approx(1, abs=1e-4)
    scale, edges = math.exp(log_scale), (torch.arange(255, dtype=torch.double) + 0.5) / 255
    below = torch.cat([torch.zeros(1), ((edges - mean) / scale).sigmoid(), torch.ones(1)])
    mass = below.diff()
    representable = mass > 1e-7
    assert torch.allclose(nll.double()[representable], -mass[representable].log(), atol=2e-3)


@torch.no_grad()
def test_bits_per_dimension_by_hand() -> None:
    model = small(likelihood="logistic").eval()
    image = torch.randint(0, 256, (6, 1, 8, 8)) / 255
    k = model.indices(image)
    mean, log_scale = model.decoder(model.codebook(k)).chunk(2, 1)
    prior = model.code_prior(k).log_softmax(1)
    nats = discretized_logistic_nll(mean, image, log_scale) - prior.gather(1, k[:, None]).sum((1, 2, 3))
    said = dict(BitsPerDimEvaluator(batch_size=4).run(model, Images(image)))  # type: ignore[arg-type]
    assert said["bits_per_dim"] == pytest.approx(float(nats.detach().mean()) / 64 / math.log(2), rel=1e-5)
    parts = said["bits_per_dim_image"] + said["bits_per_dim_code"]  # type: ignore[operator]
    assert said["bits_per_dim"] == pytest.approx(float(parts), rel=1e-9)  # type: ignore[arg-type]
    assert torch.allclose(model.score(image), nats, rtol=1e-5)
    assert BitsPerDimEvaluator().applies(model)
    assert not BitsPerDimEvaluator().applies(small())  # a density has no bits


# ---------------------------------------------------------------- evaluator


class Fixed(VQVAE):
    """Codes 0, 0, 1 of the four whatever the image."""

    def __init__(self, threshold: float) -> None:
        torch.nn.Module.__init__(self)
        self.num_embeddings, self.dead_code_threshold = 4, threshold

    def indices(self, image: Tensor) -> Tensor:
        return torch.tensor([0, 0, 1]).repeat(len(image), 1)


@pytest.mark.parametrize(
    ("threshold", "treatment"), [(0.0, "model.dead_code_threshold=0.1"), (0.1, "model.num_embeddings=2")]
)
def test_use_perplexity_and_the_diagnosis(threshold: float, treatment: str) -> None:
    model, images = Fixed(threshold), Images(torch.rand(5, 1, 2, 2))
    said = dict(CodebookUse(batch_size=2).run(model, images))  # type: ignore[arg-type]
    assert said["code_use"] == 0.5
    assert said["code_perplexity"] == pytest.approx(3 / 2 ** (2 / 3))  # exp(H(2/3, 1/3))
    assert "codebook" not in said
    found = dict(CodebookUse(least=0.6).run(model, images))["codebook"]  # type: ignore[arg-type]
    assert isinstance(found, Diagnosis)
    assert found.sentence.endswith(treatment)
    assert "2 of 4 codes" in found.sentence


def test_the_histogram_shows_the_most_frequent_first() -> None:
    picture = histogram(torch.tensor([1.0, 4.0, 0.0, 2.0]))
    assert isinstance(picture, Image)
    heights = (picture.pixels[0] == 0).sum(0)
    assert heights[::128].tolist() == [128, 64, 32, 0]


# ---------------------------------------------------------------- shapes


def test_the_papers_parameters() -> None:
    spec = spec_of("vqvae") | {"codebook": "gradient"}
    model = MODELS.build(spec, "model", image_shape=(3, 32, 32))
    assert sum(p.numel() for phase in model.phases()[:1] for p in phase.module.parameters()) == 695_491


def test_sizes_that_cannot_be_halved_name_one_that_can() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.size=28"):
        small((1, 29, 29))
    with pytest.raises(ConfigError, match="vqvae"):
        vqvae((1, 28, 28), (4, 7, 14))


def test_another_network_is_no_prior() -> None:
    with pytest.raises(ConfigError, match=r"model\.prior\.name=pixelcnn"):
        small(prior={"name": "mlp", "hidden": [3]})


def test_without_a_learned_prior_all_codes_are_as_likely() -> None:
    model = small(prior=None, likelihood="logistic").eval()
    assert [phase.window for phase in model.phases()] == [(0, 1), (0, 1)]
    image = torch.rand(3, 1, 8, 8)
    assert torch.allclose(model.bound(image)[1], torch.full((3,), 4 * math.log(8)))
    rng.seed(0)
    drawn = model.sample_codes(2000)
    assert torch.allclose(drawn.flatten().bincount(minlength=8) / 8000, torch.full((8,), 1 / 8), atol=0.02)
    elbo = float(model.quantize(*model.shared_forward(image))["elbo"])
    assert elbo == pytest.approx(-float(model.score(image).detach().mean()), rel=1e-5)

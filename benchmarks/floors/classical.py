"""Floor loops of models that are trained without gradients of a loss: Boltzmann machines, k-means, PCA."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from benchmarks.floors.how import How, Step

LR, MOMENTUM = 0.02, 0.5


class Boltzmann(nn.Module):
    """Weights (H, D) and biases of a restricted Boltzmann machine, and persistent chains (K, D) or none."""

    chains: Tensor

    def __init__(self, visible: int = 784, hidden: int = 500, chains: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.01 * torch.randn(hidden, visible))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("chains", (torch.randn(chains, visible) > 0).float())


def mean_of(x: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    return torch.addmm(bias, x, weight).sigmoid_()


def sampled(mean: Tensor) -> Tensor:
    return torch.rand_like(mean).lt_(mean)


class Contrast:
    """(Persistent) contrastive divergence with one Gibbs round, by gradient descent with momentum, in place."""

    def __init__(self, layer: Boltzmann) -> None:
        self.layer = layer
        self.parameters = [p.detach() for p in layer.parameters()]
        self.momenta = [torch.zeros_like(p) for p in self.parameters]

    def update(self, v: Tensor) -> None:
        weight, visible_bias, hidden_bias = self.parameters
        momentum, visible_momentum, hidden_momentum = self.momenta
        chains = self.layer.chains
        h = mean_of(v, hidden_bias, weight.t())
        start = mean_of(chains, hidden_bias, weight.t()) if len(chains) else h
        fantasy = sampled(mean_of(sampled(start), visible_bias, weight))
        if len(chains):
            chains.copy_(fantasy)
        k = mean_of(fantasy, hidden_bias, weight.t())
        momentum.addmm_(k.t(), fantasy, beta=MOMENTUM, alpha=1 / len(k)).addmm_(h.t(), v, alpha=-1 / len(h))
        visible_momentum.mul_(MOMENTUM).add_(fantasy.mean(0) - v.mean(0))
        hidden_momentum.mul_(MOMENTUM).add_(k.mean(0) - h.mean(0))
        torch._foreach_add_(self.parameters, self.momenta, alpha=-LR)


def boltzmann(first: Boltzmann, *above: Boltzmann, how: How) -> Step:
    """Hinton (2002) or, with chains, Tieleman (2008), on pixels sampled at every step; of a stack, the first layer."""
    contrast, steps = Contrast(first.to(how.device)), itertools.count()

    @torch.no_grad()
    def step(pixels: Tensor) -> Tensor:
        x = pixels.flatten(1).float().mul_(1 / 255)
        if next(steps) == 0:  # visible biases start at those of the data
            first.visible_bias.copy_(x.mean(0).clamp(0.01, 0.99).logit())
        contrast.update(sampled(x))
        return first.hidden_bias.mean()

    return step


class Centroids(nn.Module):
    """K-means: 400 centroids, how many patches of 6x6 pixels each has had, and sums for whitening them."""

    def __init__(self, size: int = 36, centroids: int = 400) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(centroids, size))
        self.register_buffer("members", torch.zeros(centroids))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("total", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("outer", torch.zeros(size, size, dtype=torch.float64))


def kmeans(state: Centroids, how: How, patches: int = 20, whitening: int = 2) -> Step:
    """Coates, Lee & Ng (2011) with the mini-batches of Sculley (2010), on gray images of 28x28 pixels.

    The first `whitening` steps measure the patches, later ones move the centroids.
    """
    center, members, count, total, outer = state.to(how.device).buffers()
    reach = torch.arange(6, device=how.device)
    offsets = (28 * reach[:, None] + reach).flatten()
    steps, whitened = itertools.count(), []

    def normalized(pixels: Tensor) -> Tensor:
        """Random patches (N·patches, 36) without mean and contrast."""
        corner = (torch.rand(len(pixels), patches, 2, device=pixels.device) * 23).long()
        index = (28 * corner[..., :1] + corner[..., 1:] + offsets).flatten(1)
        x = pixels.flatten(1).float().mul_(1 / 255).gather(1, index).view(-1, 36)
        x.sub_(x.mean(1, keepdim=True))
        return x.div_(x.square().sum(1, keepdim=True).div_(35).add_(1.5e-4).sqrt_())

    def map_of() -> tuple[Tensor, Tensor]:
        mean = total / count
        values, vectors = torch.linalg.eigh(outer / count - torch.outer(mean, mean))
        zca = (vectors * (values.clamp(min=0) + 0.1).rsqrt()) @ vectors.T
        return zca.float(), -(mean @ zca).float()

    @torch.no_grad()
    def step(pixels: Tensor) -> Tensor:
        x = normalized(pixels)
        if next(steps) < whitening:
            wide = x.double()
            count.add_(len(wide))
            total.add_(wide.sum(0))
            outer.addmm_(wide.T, wide)
            return count
        if not whitened:
            whitened.extend(map_of())
        x = torch.addmm(whitened[1], x, whitened[0])
        order = torch.rand(len(x), device=x.device)
        dead = members <= 0.01 * members.mean()
        if dead.any():
            smallest = members.masked_fill(dead, torch.inf).amin().nan_to_num(posinf=0.0)
            center[dead] = x[order.topk(min(len(center), len(x))).indices[torch.arange(len(center)) % len(x)]][dead]
            members[dead] = smallest
        squares = center.square().sum(1)
        least, nearest = torch.addmm(squares, x, center.T, alpha=-2).min(1)
        new = torch.bincount(nearest, minlength=len(center)).float()
        members.add_(new)
        sums = torch.zeros_like(center).index_add_(0, nearest, x)
        center.add_((sums - new[:, None] * center) / members.clamp(min=1)[:, None])
        return (least.sum() + x.square().sum()) / len(x)

    return step


class Sums(nn.Module):
    """PCA: the sums that mean and covariance are made of."""

    def __init__(self, size: int = 784) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("total", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("outer", torch.zeros(size, size, dtype=torch.float64))


def pca(sums: Sums, how: How) -> Step:
    """The pass over the images; the eigenvectors come after it."""
    count, total, outer = sums.to(how.device).buffers()

    @torch.no_grad()
    def step(pixels: Tensor) -> Tensor:
        x = pixels.flatten(1).double().mul_(1 / 255)
        count.add_(len(x))
        total.add_(x.sum(0))
        outer.addmm_(x.T, x)
        return count

    return step

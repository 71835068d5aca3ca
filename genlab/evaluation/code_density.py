"""Samples of a trained autoencoder, through a density fitted to the codes of its training images.

An autoencoder has no distribution of codes. A mixture of Gaussians fitted afterwards gives it one; a VAE's samples
improve as well. Ghosh, Sajjadi, Vergari, Black & Schölkopf, From Variational to Deterministic Autoencoders, ICLR 2020
(arXiv:1903.12436), section 4: a single Gaussian, or ten with full covariances.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Decodes, Model
from genlab.utils.terminal import say


class CodeSampler(Model):
    """`decoder` with codes from a mixture of Gaussians.

    Its weights are (K,), its means (K, D), the Cholesky factors of its covariances (K, D, D).
    """

    def __init__(self, decoder: Decodes, weights: Tensor, means: Tensor, factors: Tensor) -> None:
        super().__init__()
        self.decoder = decoder
        for name, tensor in (("weights", weights), ("means", means), ("factors", factors)):
            self.register_buffer(name, tensor, persistent=False)

    def prior(self, n: int) -> Tensor:
        """n codes (n, D) from the mixture."""
        weights, means, factors = self.get_buffer("weights"), self.get_buffer("means"), self.get_buffer("factors")
        k = rng.categorical(weights.expand(n, -1))
        z = rng.normal(n, means.shape[1], like=means)
        scaled = torch.zeros_like(z)
        for component in k.unique().tolist():
            chosen = k == component
            scaled[chosen] = z[chosen] @ factors[component].T
        return means[k] + scaled

    def sample(self, n: int) -> Tensor:
        """n images in [0, 1], decoded from codes of the mixture."""
        return self.decoder.decode(self.prior(n))


def fitted(decoder: Decodes, codes: Tensor, components: int, seed: int) -> CodeSampler:
    """The decoder with a mixture of `components` Gaussians of full covariance, fitted by EM to codes (N, D)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(components, random_state=seed, reg_covar=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the line below says it
        mixture.fit(codes.double().cpu().numpy())
    if not mixture.converged_:
        say(f"the mixture still changed after {mixture.n_iter_} iterations of EM; perhaps use fewer components")
    covariances = torch.from_numpy(mixture.covariances_)
    tensors = (mixture.weights_, mixture.means_, torch.linalg.cholesky(covariances))
    return CodeSampler(decoder, *(torch.as_tensor(each).float().to(codes.device) for each in tensors))

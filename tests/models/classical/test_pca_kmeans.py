"""PCA against scikit-learn; k-means, whitening and pooling against scikit-learn, their formulas and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.decomposition import PCA as SklearnPCA
from torch import Tensor

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.classical.kmeans import KMeans
from genlab.models.classical.pca import PCA
from genlab.nn.layers.moments import Moments
from genlab.nn.layers.patches import all_patches, normalize_contrast, random_patches, sum_quadrants

SHAPE = (1, 5, 4)


@pytest.fixture
def images() -> Tensor:
    """Correlated pixels, of falling variance, far from zero."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(20, 20, generator=generator) * torch.logspace(0, -2, 20)[:, None]
    return (0.5 + 0.05 * torch.randn(300, 20, generator=generator) @ mixing).reshape(300, *SHAPE)


def fitted(images: Tensor, components: int = 6, batch_size: int = 70) -> PCA:
    model = PCA(SHAPE, components)
    for batch in images.split(batch_size):
        model.update(batch)
    return model


@pytest.mark.parametrize("batch_size", [1, 70, 300])
def test_pca_is_scikit_learns_for_any_cut_into_batches(images: Tensor, batch_size: int) -> None:
    model, theirs = fitted(images, 6, batch_size), SklearnPCA(6, svd_solver="full").fit(images.flatten(1).numpy())
    cosines = (model.basis().numpy() * theirs.components_).sum(1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-4)
    codes = theirs.transform(images.flatten(1).numpy())
    np.testing.assert_allclose(model.encode(images).numpy(), codes * np.sign(cosines), atol=1e-4)
    back = theirs.inverse_transform(codes).reshape(images.shape)
    np.testing.assert_allclose(model.project(model.encode(images)).numpy(), back, atol=1e-4)
    residual = ((images.numpy() - back) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(model.score(images).numpy(), residual, rtol=1e-2, atol=1e-6)
    assert model.loss(images)["squared_error"].item() == pytest.approx(residual.mean(), rel=1e-3)


def test_what_pca_leaves_is_the_sum_of_the_other_eigenvalues(images: Tensor) -> None:
    model = fitted(images)
    assert model.loss(images)["squared_error"].item() == pytest.approx(
        model.moments.eigen()[0][6:].sum().item(), rel=1e-3
    )


def test_a_second_pass_changes_nothing(images: Tensor) -> None:
    torch.testing.assert_close(fitted(torch.cat([images, images])).basis(), fitted(images).basis())


def test_the_eigenvectors_follow_every_change(images: Tensor) -> None:
    """Also those that come as a loaded state or as a copy into an average of weights."""
    one, other = fitted(images), fitted(images.flip(3))
    before = one.basis()
    one.load_state_dict(other.state_dict())
    assert torch.equal(one.basis(), other.basis())
    torch._foreach_copy_(list(one.buffers()), list(fitted(images).buffers()))
    assert torch.equal(one.basis(), before)
    one.update(images[:1] * 9)
    assert not torch.equal(one.basis(), before)


def test_pca_samples_have_the_codes_variances(images: Tensor) -> None:
    model = fitted(images)
    rng.seed(0)
    torch.testing.assert_close(model.prior(20_000).var(0), model.encode(images).var(0), rtol=0.05, atol=0)


def test_images_too_large_for_a_covariance_are_refused_with_a_size_that_works() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.size=64"):
        PCA((1, 65, 65))
    with pytest.raises(ConfigError, match=r"dataset\.size=36"):
        PCA((3, 64, 64))
    PCA((3, 36, 36))
    with pytest.raises(ConfigError, match="latent_dim=20"):
        PCA(SHAPE, 21)


def test_the_variance_logged_is_the_covariances_trace(images: Tensor) -> None:
    model = PCA(SHAPE, 6)
    assert model.moments.variance == 0
    logged = model.update(images)
    assert logged["variance"].item() == pytest.approx(images.flatten(1).var(0, correction=0).sum().item(), rel=1e-4)


def test_moments_before_the_first_row_are_zero() -> None:
    values, vectors = Moments(3).eigen()
    assert values.tolist() == [0, 0, 0]
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(3, dtype=torch.float64))


# ---------------------------------------------------------------------- k-means


def kmeans(patches: Tensor, **changes: int | float) -> KMeans:
    """A model of 3-pixel patches that has measured these."""
    model = KMeans((1, 8, 8), **{"centroids": 5, "patch_size": 3, **changes})
    model.measure(patches)
    return model


@pytest.mark.parametrize("keys", [{"patch_size": 50}, {"patch_size": 8}, {"stride": 9}])
def test_patches_have_a_place_in_each_quadrant(keys: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"a side of 8 pixels is too short.*use model\.patch_size=4 model\.stride=1"):
        KMeans((1, 8, 8), **keys)
    KMeans((1, 8, 8), patch_size=4)


@pytest.fixture
def patches() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(400, 9, generator=generator) @ torch.randn(9, 9, generator=generator)


def test_whitening_is_zca(patches: Tensor) -> None:
    x = patches.double().numpy()
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    expected = (x - x.mean(0)) @ vectors @ np.diag((values + 0.1) ** -0.5) @ vectors.T
    np.testing.assert_allclose(kmeans(patches).whiten(patches).numpy(), expected, atol=1e-4)
    model = kmeans(patches, epsilon=1e-9)
    white = model.whiten(patches)
    torch.testing.assert_close(white.T.cov(correction=0), torch.eye(9), atol=1e-3, rtol=0)
    model.measure(9 * patches)  # the map that was found is not kept when the sums change
    both = model.whiten(torch.cat([patches, 9 * patches]))
    torch.testing.assert_close(both.T.cov(correction=0), torch.eye(9), atol=1e-3, rtol=0)


def test_the_first_step_on_a_batch_is_lloyds(patches: Tensor) -> None:
    model = kmeans(patches, dead=0.0)
    x = model.whiten(patches)
    model.center.copy_(x[:5])
    model.members.fill_(1e-6)  # not empty, and of no weight: Lloyd's centroid is the mean of its members alone
    theirs = SklearnKMeans(5, init=x[:5].numpy(), n_init=1, max_iter=1, algorithm="lloyd").fit(x.numpy())
    loss = model.move(patches)["loss"]
    np.testing.assert_allclose(model.center.numpy(), theirs.cluster_centers_, atol=1e-4)
    distances = ((x[:, None] - x[None, :5]) ** 2).sum(2)
    assert loss.item() == pytest.approx(distances.min(1).values.mean().item(), rel=1e-4)


def test_a_centroid_is_the_mean_of_all_that_were_nearest_to_it(patches: Tensor) -> None:
    model = kmeans(patches, dead=0.0)
    x = model.whiten(patches)
    model.center.copy_(x[:5])
    model.members.fill_(1e-6)
    sums, counts = torch.zeros(5, 9), torch.zeros(5)
    for part in patches.split(100):
        nearest, _ = model.nearest(model.whiten(part))
        for row, index in zip(model.whiten(part), nearest.tolist(), strict=True):
            sums[index] += row
            counts[index] += 1
        model.move(part)
        torch.testing.assert_close(model.center[counts > 0], (sums / counts[:, None])[counts > 0], atol=1e-4, rtol=0)


def test_all_centroids_start_on_patches_and_dead_ones_move(patches: Tensor) -> None:
    model = kmeans(patches)
    x = model.whiten(patches)
    rng.seed(0)
    assert model.reseed(x) == 5
    assert all((x == center).all(1).any() for center in model.center)
    assert len(model.center.unique(dim=0)) == 5
    model.members.copy_(torch.tensor([100.0, 0.5, 60.0, 100.0, 100.0]))
    model.center[1] = 99.0
    before = model.center.clone()
    assert model.reseed(x) == 1
    assert torch.equal(model.center[[0, 2, 3, 4]], before[[0, 2, 3, 4]])
    assert model.center[1].abs().max() < 50
    assert model.members.tolist() == [100, 60, 60, 100, 100]


def test_random_patches_are_windows_of_their_own_image() -> None:
    image = torch.rand(3, 2, 6, 7)
    rng.seed(0)
    drawn = random_patches(image, 4, 200).reshape(3, 200, -1)
    windows, places = all_patches(image, 4, 1)
    assert places == (3, 4)
    for own, all_of_them in zip(drawn, windows, strict=True):
        same = (own[:, None] == all_of_them).all(2)
        assert (same.sum(1) == 1).all()
        assert same.any(0).all()  # every place comes up


def test_contrast_is_normalized_row_by_row() -> None:
    rows = torch.rand(4, 9)
    rows[3] = 0.7
    x = normalize_contrast(rows, 1e-4)
    torch.testing.assert_close(x[:3], (rows - rows.mean(1, True))[:3] / (rows.var(1, keepdim=True) + 1e-4)[:3].sqrt())
    assert x[3].abs().max() < 1e-4


def test_the_code_is_the_papers_sum_patch_by_patch(patches: Tensor) -> None:
    model, image = kmeans(patches), torch.rand(2, 1, 8, 8)
    model.center.normal_()
    code = torch.zeros(2, 2, 2, 5)
    for n in range(2):
        for row in range(6):
            for column in range(6):
                window = image[n, 0, row : row + 3, column : column + 3].reshape(1, 9)
                z = (model.whiten(normalize_contrast(window, model.contrast)) - model.center).norm(dim=1)
                code[n, row // 3, column // 3] += (z.mean() - z).clamp(min=0)
    torch.testing.assert_close(model.encode(image), code.flatten(1), atol=1e-4, rtol=1e-4)


def test_quadrants_of_odd_maps_hold_every_place_once() -> None:
    maps = torch.rand(2, 5, 7, 3)
    total = sum_quadrants(maps).reshape(2, 4, 3)
    torch.testing.assert_close(total.sum(1), maps.sum((1, 2)))
    torch.testing.assert_close(total[:, 0], maps[:, :2, :3].sum((1, 2)))
    assert sum_quadrants(torch.rand(2, 1, 1, 3)).shape == (2, 12)

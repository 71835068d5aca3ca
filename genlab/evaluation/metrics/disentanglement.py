"""How well single dimensions of codes correspond to single known factors; all scores are at most 1, the perfect code's.

Codes are (N, D), factors integers (N, F). Factors that do not vary are to be left out by the caller.

MIG: Chen, Li, Grosse & Duvenaud, NeurIPS 2018 (arXiv:1802.04942). DCI: Eastwood & Williams, A Framework for the
Quantitative Evaluation of Disentangled Representations, ICLR 2018. SAP: Kumar, Sattigeri & Balakrishnan, ICLR 2018
(arXiv:1711.00848). FactorVAE score: Kim & Mnih, Disentangling by Factorising, ICML 2018 (arXiv:1802.05983).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.floating[Any]]
Factors = NDArray[np.integer[Any]]
Scores = NDArray[np.float64]

PRUNED = 0.01  # fraction of the largest variance below which a dimension counts as unused


def binned(codes: Codes, bins: int) -> NDArray[np.int64]:
    """Each dimension cut into `bins` intervals of equal length between its extremes, int64 (N, D)."""
    low, high = codes.min(0), codes.max(0)
    scaled = (codes - low) / np.where(high > low, high - low, 1)
    return np.minimum((scaled * bins).astype(np.int64), bins - 1)


def entropy(counts: NDArray[Any], axis: int | None = None) -> Any:
    """The entropy in nats of counts or weights, normalized along `axis` (None: all of them)."""
    total = counts.sum(axis=axis, keepdims=True)
    p = counts / np.where(total > 0, total, 1)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)


def mutual_information(codes: Codes, factors: Factors, bins: int) -> tuple[Scores, Scores]:
    """I(z_d; v_f) in nats between binned dimensions and factors, (D, F), and the factors' entropies H(v_f), (F,)."""
    cells = binned(codes, bins)
    information = np.empty((codes.shape[1], factors.shape[1]))
    for f, factor in enumerate(factors.T):
        values = int(factor.max()) + 1
        for d, cell in enumerate(cells.T):
            table = np.bincount(cell * values + factor, minlength=bins * values).reshape(bins, values)
            information[d, f] = entropy(table.sum(0)) + entropy(table.sum(1)) - entropy(table)
    return information, np.array([entropy(np.bincount(factor)) for factor in factors.T])


def mutual_information_gap(codes: Codes, factors: Factors, bins: int) -> Scores:
    """MIG of each factor, (F,): the difference of the two largest I(z_d; v_f), divided by H(v_f): eq. 6."""
    information, entropies = mutual_information(codes, factors, bins)
    return _gap(information) / entropies


def _gap(scores: Scores) -> Scores:
    """The difference of the largest and the second largest of each column (D, F); of one dimension, the score."""
    ordered = np.sort(np.vstack([np.zeros(scores.shape[1]), scores]), axis=0)
    result: Scores = ordered[-1] - ordered[-2]
    return result


def dci(codes: Codes, factors: Factors, trees: int, seed: int) -> tuple[float, float, float]:
    """Disentanglement, completeness and informativeness, by the importances of random forests that predict a factor.

    Disentanglement: how few factors a dimension predicts; completeness: how few dimensions predict a factor.
    Informativeness is the forests' mean accuracy on the half of the images that they were not fitted on.
    """
    from sklearn.ensemble import RandomForestClassifier

    half = len(codes) // 2
    importances, accuracies = [], []
    for factor in factors.T:
        forest = RandomForestClassifier(trees, max_features=None, random_state=seed).fit(codes[:half], factor[:half])
        importances.append(forest.feature_importances_)
        accuracies.append(forest.score(codes[half:], factor[half:]))
    disentanglement, completeness = disentanglement_completeness(np.stack(importances, 1))
    return disentanglement, completeness, float(np.mean(accuracies))


def disentanglement_completeness(importances: Scores) -> tuple[float, float]:
    """The two scores of importances (D, F): 1 − entropy of a row or column, base F or D; rows weighted by their sum."""
    dimensions, factors = importances.shape
    rows = 1 - entropy(importances, axis=1) / np.log(max(factors, 2))
    columns = 1 - entropy(importances, axis=0) / np.log(max(dimensions, 2))
    predicted = importances.sum(0) > 0  # a constant code predicts nothing
    weights = importances.sum(1) / max(importances.sum(), np.finfo(np.float64).tiny)
    return float((weights * rows).sum()), float((columns * predicted).mean())


def separated_attribute_predictability(codes: Codes, factors: Factors) -> Scores:
    """SAP of each factor, (F,): the difference of the two dimensions that predict it best by thresholds alone.

    Thresholds, at most one fewer than the factor has values, are fitted to one half of the images; the score is the
    balanced accuracy on the other half, scaled so that guessing has 0. The paper's rule for
    categories, for all factors.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    half = len(codes) // 2
    scores = np.empty((codes.shape[1], factors.shape[1]))
    for f, factor in enumerate(factors.T):
        values = len(np.unique(factor[:half]))
        if values < 2:
            scores[:, f] = 0  # nothing to fit a threshold to
            continue
        for d in range(codes.shape[1]):
            tree = DecisionTreeClassifier(max_leaf_nodes=values, class_weight="balanced", random_state=0)
            tree.fit(codes[:half, d : d + 1], factor[:half])
            scores[d, f] = balanced_accuracy_score(factor[half:], tree.predict(codes[half:, d : d + 1]))
        scores[:, f] = np.maximum(0, (scores[:, f] - 1 / values) / (1 - 1 / values))
    return _gap(scores)


def factor_vae_score(codes: Codes, factors: Factors, votes: int, size: int, seed: int) -> float:
    """How often the dimension that varies least among images with one factor fixed tells which factor it is.

    A vote is drawn from `size` images that share the value of a random factor. The factor that a dimension stands for
    is the most frequent one in `votes` votes; the score is the accuracy of this rule on `votes` others. Variances are
    relative to those of all images, and unused dimensions are left out: section 3 of the paper.
    """
    variances = codes.var(0)
    used = np.flatnonzero(variances > PRUNED * variances.max())
    if not len(used):
        return 1 / factors.shape[1]  # a constant code: a guess
    codes = codes[:, used] / np.sqrt(variances[used])
    source = np.random.default_rng(seed)
    tally = np.zeros((2, len(used), factors.shape[1]), np.int64)
    groups = [[np.flatnonzero(factor == value) for value in range(int(factor.max()) + 1)] for factor in factors.T]
    for part in (0, 1):
        for _ in range(votes):
            f = int(source.integers(factors.shape[1]))
            value = int(factors[source.integers(len(codes)), f])
            drawn = source.choice(groups[f][value], size)
            tally[part, codes[drawn].var(0).argmin(), f] += 1
    return float(tally[1, np.arange(len(used)), tally[0].argmax(1)].sum() / votes)

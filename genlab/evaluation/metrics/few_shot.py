"""Classification from a few examples of each class, and a distance between drawings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating[Any]]
Distances = NDArray[np.float64]


def prototype_distances(queries: Features, examples: Features, cosine: bool) -> Distances:
    """The distance (Q, W) of queries (Q, D) to the means of the examples (W, S, D) of each class.

    Snell, Swersky & Zemel, Prototypical Networks for Few-shot Learning, NeurIPS 2017 (arXiv:1703.05175), eq. 1.
    With `cosine`, 1 − cosine similarity; otherwise Euclidean.
    """
    from scipy.spatial.distance import cdist

    prototypes = examples.mean(1)
    if not cosine:
        return np.asarray(cdist(queries, prototypes))
    q, p = (each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in (queries, prototypes))
    return np.asarray(1 - q @ p.T, dtype=np.float64)


def ink(image: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The positions (P, 2) of the strokes in an image (H, W) in [0, 1], relative to their mean: the rarer side of ½."""
    dark = image < 0.5
    rows = np.argwhere(dark if dark.mean() <= 0.5 else ~dark).astype(np.float64)
    if not len(rows):
        return np.zeros((1, 2))  # an empty image
    centered: NDArray[np.float64] = rows - rows.mean(0)
    return centered


def modified_hausdorff(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The larger mean distance from the points of one set (P, 2) to the nearest of the other (P', 2), in pixels.

    Dubuisson & Jain, A Modified Hausdorff Distance for Object Matching, ICPR 1994.
    """
    from scipy.spatial import KDTree

    there, back = KDTree(b).query(a)[0].mean(), KDTree(a).query(b)[0].mean()
    return float(max(there, back))


def hausdorff_distances(queries: Features, examples: Features) -> Distances:
    """The mean distance (Q, W) of images (Q, H, W') to the examples (W, S, H, W') of each class, in pixels."""
    points = [ink(query) for query in queries]
    known = [[ink(example) for example in group] for group in examples]
    return np.array([[np.mean([modified_hausdorff(q, e) for e in group]) for group in known] for q in points])

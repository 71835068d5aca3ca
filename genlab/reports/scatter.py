"""A scatter plot of points in the plane, colored by class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genlab.core.values import Image

# Paul Tol's "muted" colors and black: distinguishable with any color vision
COLORS = ("#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#000000")
SIDE, MARGIN, RADIUS = 720, 24, 3  # pixels


def scatter(points: Tensor, classes: Tensor | None) -> Image:
    """Points (N, 2), with equal scale on both axes, to fill a square; `classes` (N,) color them and add a legend."""
    import PIL.Image
    from PIL import ImageDraw

    extent = (points.max(0).values - points.min(0).values).max().clamp_min(1e-12)
    middle = (points.max(0).values + points.min(0).values) / 2
    places = ((points - middle) / extent * (SIDE - 2 * MARGIN) + SIDE / 2).tolist()
    kinds = [0] * len(points) if classes is None else classes.tolist()
    image = PIL.Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    for (x, y), kind in zip(places, kinds, strict=True):
        box = (x - RADIUS, SIDE - y - RADIUS, x + RADIUS, SIDE - y + RADIUS)  # up is up
        draw.ellipse(box, fill=COLORS[kind % len(COLORS)])
    for line, kind in enumerate(sorted(set(kinds))[:40] if classes is not None else []):
        top = 6 + 14 * line
        draw.rectangle((6, top, 15, top + 9), fill=COLORS[kind % len(COLORS)])
        draw.text((20, top - 1), str(kind), fill="black")
    return Image(torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()))

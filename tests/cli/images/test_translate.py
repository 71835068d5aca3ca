"""Translations of the data, above their targets where pairs are aligned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from genlab.cli.images import translate
from tests.support.tiny_runs import draw_pairs
from tests.support.untrained import loaded_run


def test_translations_of_aligned_pairs_stand_above_their_targets(tmp_path: Path) -> None:
    data = {"name": "paired", "root": str(draw_pairs(tmp_path / "pairs")), "size": 8, "channels": 1}
    loaded = loaded_run("vae")
    paired = replace(loaded, config={**loaded.config, "dataset": data})
    (a, b) = paired.data().split("test").take(3, ("a", "b"))
    for direction, (first, second) in {"ab": (a, b), "ba": (b, a)}.items():
        keys = translate.Keys(n=3, direction=direction)  # type: ignore[arg-type]
        stacks = translate._of_the_data(paired, keys, lambda images: 1 - images)
        assert list(stacks) == ["input", "output", "target"]
        assert torch.equal(stacks["input"], first)
        assert torch.equal(stacks["output"], 1 - first)
        assert torch.equal(stacks["target"], second)


def test_domains_without_pairs_have_no_targets() -> None:
    loaded = loaded_run("vae")
    data = {"name": "unpaired", "base": {"name": "digits"}, "classes": [4, 9], "size": None}
    unpaired = replace(loaded, config={**loaded.config, "dataset": data})
    assert list(translate._of_the_data(unpaired, translate.Keys(n=3), lambda images: images)) == ["input", "output"]

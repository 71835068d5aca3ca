"""The properties of a data set that are known before any image is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from genlab.core.model import Shape

GENERATED = "generated_"  # prefix of a data set's name: samples of its models, genlab/data/datasets/generated.py


@dataclass(eq=False)
class DataSpec:
    """The properties that decide whether a model can learn from a data set.

    `shape` is (C, H, W); `columns` are the names that batches can have; `label_names` are classes, or attributes if
    `multi_label`; `points`: the samples are points of any range, one pixel each; `aligned`: the images `a` and `b` of
    a pair show the same thing.
    """

    name: str
    shape: Shape
    columns: tuple[str, ...]
    label_names: list[str] | None = None
    multi_label: bool = False
    points: bool = False
    aligned: bool = True

    @property
    def num_classes(self) -> int | None:
        return None if self.label_names is None else len(self.label_names)

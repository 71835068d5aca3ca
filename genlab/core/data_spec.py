"""What is known of a data set before any of its images is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from genlab.core.model import Shape

GENERATED = "generated_"  # prefix of a data set's name: samples of its models, genlab/data/datasets/generated.py


@dataclass(eq=False)
class DataSpec:
    """What decides whether a model can learn from a data set.

    `shape` is (C, H, W); `columns` are the names that batches can have; `label_names` are classes, or attributes if
    `multi_label`; `points` says that images are points of any range, of one pixel each; `aligned` that the images `a`
    and `b` of a pair show the same thing.
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

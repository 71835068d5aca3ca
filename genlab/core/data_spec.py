"""What is known of a data set before any of its pictures is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from genlab.core.model import Shape

GENERATED = "generated_"  # before a data set's name: samples of its models, genlab/data/datasets/generated.py


@dataclass(frozen=True)
class Facts:
    """Of `Data` the attributes of the same names: what decides whether a model can learn from it."""

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

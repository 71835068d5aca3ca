"""Drawing many samples in parts that fit in memory, such that each class is drawn as often."""

from __future__ import annotations

import inspect

from genlab.core.model import Model, Samples


def classes_in_turn(model: Model) -> int | None:
    """How many classes a model's samples go through, from the first on in every call; None: it is told no class."""
    classes = getattr(model, "num_classes", None)
    told = isinstance(model, Samples) and "label" in inspect.signature(model.sample).parameters
    return int(classes) if told and classes else None


def in_parts(count: int, most: int, turn: int | None = None) -> list[int]:
    """`count` samples in parts of about `most`, each but the last of whole turns: [256, 256, 88]."""
    part = max(1, most // (turn or 1)) * (turn or 1)
    return [min(part, count - done) for done in range(0, count, part)]

"""What a checkpoint holds of a trainer besides tensors, checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from genlab.errors import CheckpointError
from genlab.runs.record import Best, Diagnosed, Natural, Part

# an evaluator could also remember a single number once
Numbers = Annotated[list[float], BeforeValidator(lambda value: [value] if isinstance(value, float) else value)]


class SavedState(Part):
    """The plain state of a trainer; `structure` is that of its objects (checkpoint/state_dict.py)."""

    step: Natural
    metrics: dict[str, float]
    best: Best | None
    structure: dict[str, Any]
    diagnoses: list[Diagnosed]
    protocols: dict[str, dict[str, Any]]
    due: list[str]
    memory: dict[str, dict[str, Numbers]]
    next_record: dict[str, float]


def checked(saved: Mapping[str, Any]) -> dict[str, Any]:
    """`saved` with defaults for what checkpoints of 0.1 lack. CheckpointError names the first wrong key."""
    state = {"diagnoses": [], "protocols": {}, "due": [], "memory": {}, "next_record": {}, **saved}
    try:
        state["memory"] = SavedState.model_validate(state).memory
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"bad value for '{key}' ({first['msg']})", "state.json", "use another checkpoint"
        ) from None
    return state

"""Optimizers without torch's compiler: the same updates, state and hooks as torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.core.eager import _unwrapped

KINDS: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.01, "fused": True}),
    (torch.optim.AdamW, {"lr": 0.1, "fused": True}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "fused": True}),
    (torch.optim.RMSprop, {"lr": 0.1, "momentum": 0.5, "foreach": True}),
]


def unwrapped(kind: type[torch.optim.Optimizer]) -> Any:
    """Skips the test where this version of torch wraps its optimizers in another way: runs are right, and slower."""
    found = _unwrapped(kind)
    if found is kind:
        pytest.skip(f"torch {torch.__version__} wraps its optimizers in a way not known to genlab.core.eager")
    return found


def trained(optimizer_of: Any, options: dict[str, Any]) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A few steps; then a state that is saved and loaded, a group that is added, and a step more."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    optimizer = optimizer_of(model[0].parameters(), **options)
    x = torch.randn(8, 5)
    for step in range(6):
        if step == 3:
            state = optimizer.state_dict()
            optimizer = optimizer_of(model[0].parameters(), **options)
            optimizer.load_state_dict(state)
            optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.5})
        model(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        assert model[0].weight.grad is None
    return model, optimizer


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_same_bits_as_torchs_own(kind: Any, options: dict[str, Any]) -> None:
    ours, theirs = trained(unwrapped(kind), options), trained(kind, options)
    assert isinstance(ours[1], kind)
    for mine, expected in zip(ours[0].parameters(), theirs[0].parameters(), strict=True):
        assert torch.equal(mine, expected)
    for mine, expected in zip(ours[1].state.values(), theirs[1].state.values(), strict=True):
        assert mine.keys() == expected.keys()
        assert all(torch.equal(torch.as_tensor(mine[key]), torch.as_tensor(expected[key])) for key in mine)


def test_hooks_are_called_and_gradients_are_off() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = unwrapped(torch.optim.Adam)([parameter], lr=0.1)
    seen: list[bool] = []
    optimizer.register_step_post_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    parameter.grad = torch.ones(2)
    optimizer.step()
    assert len(seen) == 1
    assert parameter.is_leaf
    assert not any(torch.as_tensor(value).requires_grad for value in optimizer.state[parameter].values())


def test_a_wrapping_that_is_not_known_is_left_as_it_is() -> None:
    class Other(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    assert _unwrapped(Other) is Other

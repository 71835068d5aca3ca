"""torch's fused Adam without the bookkeeping that it repeats at every step.

For a network of a few layers, collecting the lists of parameters, gradients and moments takes as long as the update
itself. Here they are collected once; the kernel, the state and the checkpoints are those of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core.eager import eager


class Adam(eager(torch.optim.Adam)):  # type: ignore[misc]
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) with `decoupled_weight_decay`, fused.

    Hooks on optimizer steps are not called.
    """

    _groups: list[_Group] | None = None

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, fused=True, **options)

    def step(self, closure: None = None) -> None:
        """As torch's; the first step, and one in which a parameter has no gradient, are torch's own."""
        groups = self._groups or self._gather()
        gradients = [[p.grad for p in group.parameters] for group in groups]
        if not groups or any(gradient is None for listed in gradients for gradient in listed):
            super().step()
            return
        scaling = {name: getattr(self, name, None) for name in ("grad_scale", "found_inf")}
        with torch.no_grad():
            for options, group, listed in zip(self.param_groups, groups, gradients, strict=True):
                group.update(options, listed, scaling)

    step.hooked = True  # type: ignore[attr-defined]  # else torch puts a profiler's range around every call

    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict(state_dict)
        self._groups = None

    def _gather(self) -> list[_Group]:
        """Empty as long as a parameter has no state yet."""
        groups = [group["params"] for group in self.param_groups]
        if all(self.state.get(p) for parameters in groups for p in parameters):
            self._groups = [_Group.of(parameters, self.state) for parameters in groups]
        return self._groups or []


@dataclass(frozen=True)
class _Group:
    parameters: list[Tensor]
    first: list[Tensor]  # moments
    second: list[Tensor]
    counts: list[Tensor]  # of steps

    @classmethod
    def of(cls, parameters: list[Tensor], state: Any) -> _Group:
        states = [state[p] for p in parameters]
        return cls(parameters, *([s[key] for s in states] for key in ("exp_avg", "exp_avg_sq", "step")))

    def update(self, options: dict[str, Any], gradients: list[Any], scaling: dict[str, Any]) -> None:
        kernel = torch._fused_adamw_ if options["decoupled_weight_decay"] else torch._fused_adam_
        torch._foreach_add_(self.counts, 1)
        kernel(
            self.parameters,
            gradients,
            self.first,
            self.second,
            [],
            self.counts,
            lr=options["lr"],
            beta1=options["betas"][0],
            beta2=options["betas"][1],
            weight_decay=options["weight_decay"],
            eps=options["eps"],
            amsgrad=False,
            maximize=False,
            **scaling,
        )
        if scaling["found_inf"] is not None:  # if it is 1, the kernel has made no update
            torch._foreach_sub_(self.counts, [scaling["found_inf"]] * len(self.counts))

"""Which noise is paired with which data in training.

Tong et al., Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport, TMLR 2024
(arXiv:2302.00482), section 3.2.4; Pooladian et al., Multisample Flow Matching, ICML 2023 (arXiv:2304.14772).
"""

from __future__ import annotations

import torch
from torch import Tensor


def optimally_paired(noise: Tensor, data: Tensor, group: int) -> Tensor:
    """`noise` (N, ...) in the order in which Σ‖data − noise‖² is smallest within each `group` of examples.

    The assignment is exact and made on the host.
    """
    return torch.cat(
        [part[_assignment(part, target)] for part, target in zip(noise.split(group), data.split(group), strict=True)]
    )


def _assignment(noise: Tensor, data: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment  # here: it takes a while to import

    similarity = data.flatten(1).double() @ noise.flatten(1).double().T  # the squares do not depend on the pairs
    _, columns = linear_sum_assignment(similarity.cpu().numpy(), maximize=True)
    return torch.as_tensor(columns, device=noise.device)

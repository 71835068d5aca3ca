"""Noise schedules of diffusion in discrete steps: how much of the data is left after each."""

from __future__ import annotations

import math
from typing import Literal

NoiseSchedule = Literal["linear", "cosine"]
OFFSET, LARGEST = 0.008, 0.999  # of the cosine schedule: s, and the largest β


def alpha_bars(schedule: NoiseSchedule, timesteps: int) -> list[float]:
    """ᾱ_0 = 1, ᾱ_1, ..., ᾱ_T: x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε; it falls with t.

    linear: β_t from 10⁻⁴ to 0.02 for T = 1000, in inverse proportion for other T (Ho, Jain & Abbeel 2020, section 4).
    cosine: ᾱ_t = cos²(π/2 · (t/T + s) / (1 + s)) up to a factor (Nichol & Dhariwal, Improved Denoising Diffusion
    Probabilistic Models, ICML 2021, arXiv:2102.09672, equation 17).
    """
    found = [1.0]
    for t in range(1, timesteps + 1):
        if schedule == "linear":
            beta = 1000 / timesteps * (1e-4 + (0.02 - 1e-4) * (t - 1) / max(1, timesteps - 1))
        else:
            beta = 1 - _cosine(t / timesteps) / _cosine((t - 1) / timesteps)
        found.append(found[-1] * (1 - min(beta, LARGEST)))
    return found


def _cosine(t: float) -> float:
    return math.cos(math.pi / 2 * (t + OFFSET) / (1 + OFFSET)) ** 2

"""Noise schedules: how much of the data is left after each step of diffusion, and the noise levels of samplers."""

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


def noise_levels(largest: float, smallest: float, steps: int, rho: float = 7.0) -> list[float]:
    """Noise levels σ₀ = `largest` > ... > σ_{N-1} = `smallest` > σ_N = 0 of N steps, equally spaced in σ^(1/ρ).

    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, NeurIPS 2022 (arXiv:2206.00364),
    equation 5.
    """
    start, end = largest ** (1 / rho), smallest ** (1 / rho)
    return [(start + i / max(1, steps - 1) * (end - start)) ** rho for i in range(steps)] + [0.0]


def _cosine(t: float) -> float:
    return math.cos(math.pi / 2 * (t + OFFSET) / (1 + OFFSET)) ** 2

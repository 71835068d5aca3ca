"""The layers of StyleGAN2: equalized learning rates, resampling without aliasing, convolutions modulated by a style.

Karras, Laine, Aittala, Hellsten, Lehtinen & Aila, Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020
(arXiv:1912.04958). Equalized learning rate: Karras, Aila, Laine & Lehtinen, Progressive Growing of GANs, ICLR 2018
(arXiv:1710.10196), section 4.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core import rng

FP16_LIMIT = 256.0  # activations are clamped to it in float16, whose maximum is 65,504


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, times √2, which keeps the variance about constant."""
    x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    return x.clamp(-FP16_LIMIT, FP16_LIMIT) if x.dtype == torch.float16 else x


class EqualLinear(nn.Linear):
    """Weights are initialized with N(0, 1) and scaled in forward, so that Adam updates all layers at the same rate."""

    def __init__(self, inp: int, out: int, bias: float = 0.0, rate: float = 1.0) -> None:
        self.rate, self.start = rate, bias
        super().__init__(inp, out)
        self.gain = rate / math.sqrt(inp)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, 0.0, 1 / self.rate)
        nn.init.constant_(self.bias, self.start / self.rate)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.gain, self.bias * self.rate)


class EqualConv2d(nn.Conv2d):
    """The same for a convolution; with `halve` the map is blurred and halved."""

    def __init__(self, inp: int, out: int, kernel: int, bias: bool = True, halve: bool = False) -> None:
        padding = 0 if halve else kernel // 2
        super().__init__(inp, out, kernel, stride=2 if halve else 1, padding=padding, bias=bias)
        self.gain = 1 / math.sqrt(inp * kernel**2)
        self.blur = Blur(pad=2) if halve and kernel == 3 else Blur(pad=1) if halve else None

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        x = input if self.blur is None else self.blur(input)
        return self._conv_forward(x, self.weight * self.gain, self.bias)


class Blur(nn.Module):
    """The filter [1, 3, 3, 1] along both sides of each map, padded by `pad` zeros.

    As a depthwise convolution, the fastest implementation with channels last, on a CPU too.
    """

    kernel: Tensor

    def __init__(self, pad: int, gain: float = 1.0) -> None:
        super().__init__()
        self.pad = pad
        taps = torch.tensor([1.0, 3, 3, 1]) / 8
        self.register_buffer("kernel", gain * (taps[:, None] * taps)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.kernel.expand(channels, 1, 4, 4).to(x.dtype)
        return F.conv2d(x, kernel, padding=self.pad, groups=channels)


class Double(Blur):
    """Upsampling to twice the size: zeros between the pixels, then the filter."""

    def __init__(self) -> None:
        super().__init__(pad=1, gain=4.0)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.kernel.expand(channels, 1, 4, 4).to(x.dtype)
        return F.conv_transpose2d(x, kernel, stride=2, padding=self.pad, groups=channels)


class Halve(Blur):
    """Downsampling to half the size: the filter, then every other pixel."""

    def __init__(self) -> None:
        super().__init__(pad=1)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.kernel.expand(channels, 1, 4, 4).to(x.dtype)
        return F.conv2d(x, kernel, stride=2, padding=self.pad, groups=channels)


class ModulatedConv(nn.Conv2d):
    """A convolution whose input maps are scaled by a style, and whose output maps are rescaled to unit variance.

    w'_ijk = s_i w_ijk and w''_ijk = w'_ijk / √(Σ_ik w'²_ijk + ε) (equations 1 and 3). Separate weights for each image
    would need one group per image; scaling the maps before and after a common convolution is equivalent and faster.
    """

    def __init__(
        self, inp: int, out: int, kernel: int, style: int, demodulate: bool = True, double: bool = False
    ) -> None:
        super().__init__(inp, out, kernel, padding=kernel // 2, bias=False)
        self.gain = 1 / math.sqrt(inp * kernel**2)
        self.style = EqualLinear(style, inp, bias=1.0)
        self.demodulate, self.blur = demodulate, Blur(pad=1, gain=4.0) if double else None

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        """Maps (N, inp, H, W) and styles (N, D) to (N, out, H, W), or twice that size."""
        s, weight = self.style(w).float(), self.weight * self.gain
        if self.demodulate:
            # the scale of s cancels; dividing by it avoids overflow in float16
            s = s / s.detach().abs().amax(1, keepdim=True).clamp(min=1e-8)
        x = x * s.to(x.dtype)[:, :, None, None]
        if self.blur is None:
            x = self._conv_forward(x, weight, None)
        else:
            x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        return x * self.demodulation(s).to(x.dtype)[:, :, None, None] if self.demodulate else x

    def demodulation(self, s: Tensor) -> Tensor:
        """1 / √(Σ_ik w'²_ijk + ε) for styles (N, inp): (N, out), in float32."""
        with torch.autocast(s.device.type, enabled=False):
            squares = (self.weight * self.gain).square().sum((2, 3))
            scale: Tensor = (s.square() @ squares.t() + 1e-8).rsqrt()
            return scale


class StyledConv(nn.Module):
    """Modulated convolution, noise with a learned strength, bias, leaky ReLU (figure 2c)."""

    fixed: Tensor

    def __init__(self, inp: int, out: int, side: tuple[int, int], style: int, double: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inp, out, 3, style, double=double)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out))
        self.register_buffer("fixed", torch.randn(1, 1, *side))  # for images that must not flicker

    def forward(self, x: Tensor, w: Tensor, fixed: bool) -> Tensor:
        x = self.conv(x, w)
        grain = self.fixed if fixed else rng.normal(len(x), *self.fixed.shape[1:], like=x)
        return leaky(x + (grain * self.strength).to(x.dtype) + self.bias.to(x.dtype)[:, None, None])

"""genlab interpolate: walk from code to code, in a straight line (lerp) or along a great circle (slerp)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt, Lt

from genlab.cli.images import drawing
from genlab.cli.options import Parser, keywords
from genlab.errors import ConfigError
from genlab.registry import Count, NonNegativeInt

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

Steps = Annotated[int, Gt(1), Lt(1000)]
KEYS = drawing.keys_text(n="walks, one a row (8)", steps="images a walk (10)", mode="lerp, slerp or both",
                          between="prior (random codes) or data (codes of test images)", seed="of the noise (0)",
                          out="PNG file")  # fmt: skip
EXAMPLES = """\
  genlab interpolate last                              both ways, row under row
  genlab interpolate last mode=slerp n=5 steps=12
  genlab interpolate last between=data out=walk.png
"""


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    n: Count = 8
    steps: Steps = 10
    mode: Literal["lerp", "slerp", "both"] = "both"
    between: Literal["auto", "prior", "data"] = "auto"
    seed: NonNegativeInt = 0
    out: str | None = None


def parser() -> Parser:
    return drawing.picture_parser("interpolate", "Images along walks between codes.", KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, options.options))
    interpolate(drawing.open_run(options), keys)
    return 0


def interpolate(loaded: LoadedRun, keys: Keys) -> None:
    """`n` walks of `steps` images, ends included; under "both", each lerp row above the slerp row of the same ends."""
    import torch

    from genlab.core import rng
    from genlab.core.model import Decodes
    from genlab.reports.grid import image_grid

    path = drawing.destination(keys.out, loaded, drawing.named("interpolation", keys, "mode", "seed"))
    drawing.require(loaded, Decodes)
    rng.seed(keys.seed)
    with torch.no_grad():
        start, end = _ends(loaded, keys.n, keys.between)
        ways = {"lerp": lerp, "slerp": slerp}
        walks = [walk(start, end, keys.steps) for name, walk in ways.items() if keys.mode in (name, "both")]
        codes = torch.stack(walks, dim=1).flatten(0, 2)  # walk by walk, lerp before slerp, step by step
        images = drawing.decoded(loaded, codes)
    drawing.save(path, image_grid(images, keys.steps))


def lerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Codes (N, D) and (N, D) to (N, steps, D) on the straight line between them, ends included."""
    share = _shares(start, steps)
    return (1 - share) * start[:, None] + share * end[:, None]


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """The same along the great circle (Shoemake 1985): (sin((1−t)Ω) a + sin(tΩ) b) / sin Ω, Ω the angle of a and b.

    Codes that point the same or opposite ways have no such circle: there the straight line is taken.
    """
    import torch

    share = _shares(start, steps)
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1).clamp(-1, 1)
    angle = torch.acos(cosine)[:, None, None]
    sine = torch.sin(angle)
    safe = torch.where(sine.abs() < 1e-4, torch.ones_like(sine), sine)
    arc = (torch.sin((1 - share) * angle) * start[:, None] + torch.sin(share * angle) * end[:, None]) / safe
    return torch.where(sine.abs() < 1e-4, lerp(start, end, steps), arc)


def _shares(like: Tensor, steps: int) -> Tensor:
    import torch

    return torch.linspace(0, 1, steps, device=like.device, dtype=like.dtype)[None, :, None]


def _ends(loaded: LoadedRun, n: int, between: str) -> tuple[Tensor, Tensor]:
    """2n codes: from the prior, or of the first test images."""
    from genlab.core.model import Encodes, HasPrior

    model = loaded.model
    if between != "data" and isinstance(model, HasPrior):
        codes = model.prior(2 * n)
    elif between != "prior" and isinstance(model, Encodes):
        codes = model.encode(*loaded.data().split("test").first(2 * n, ("image", *loaded.model.conditions)))
    else:
        raise ConfigError(
            f"model '{loaded.config['name']}' has no codes from {between}",
            f"run {loaded.path}",
            "try between=auto",
        )
    if len(codes) < 2:
        raise ConfigError("fewer than two test images", f"run {loaded.path}", "try between=prior")
    return codes[0::2][: len(codes) // 2], codes[1::2]

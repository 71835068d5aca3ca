"""genlab walk: a walk through a generator's codes as an animation that can be looped."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt, Lt

from genlab.cli.images import drawing
from genlab.cli.images.interpolate import lerp, slerp
from genlab.cli.options import Parser, keywords
from genlab.errors import ConfigError
from genlab.registry import Count, NonNegativeInt

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

Stops = Annotated[int, Gt(1), Lt(1000)]
Rate = Annotated[
    int, Gt(0), Lt(51)
]  # a GIF counts hundredths of a second, and viewers slow down what is shorter than 2
Way = Literal["auto", "lerp", "slerp", "style"]
KEYS = drawing.keys_text(
    n="walks, side by side (9)", stops="codes that a walk passes before it is back (4)",
    steps="frames from one to the next (15)", fps="frames a second (15)",
    mode="slerp, lerp or style: straight among styles; auto: style of a model that has them, else slerp",
    seed="of the noise (0)", out="GIF or WebP file",
)  # fmt: skip
EXAMPLES = """\
  genlab walk last
  genlab walk last n=1 stops=8 steps=30 fps=25 out=walk.webp
"""


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    n: Count = 9
    stops: Stops = 4
    steps: Stops = 15
    fps: Rate = 15
    mode: Way = "auto"
    seed: NonNegativeInt = 0
    out: str | None = None


def parser() -> Parser:
    return drawing.picture_parser("walk", "A walk through codes as an animation that can be looped.", KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, options.options))
    walk(drawing.open_run(options), keys)
    return 0


def walk(loaded: LoadedRun, keys: Keys) -> None:
    """Each frame a grid of `n` images; after stops · steps frames every walk is back where it began."""
    import torch

    from genlab.core import rng
    from genlab.core.model import Decodes, HasPrior
    from genlab.reports.grid import animation, image_grid

    path = drawing.destination(keys.out, loaded, drawing.named("walk", keys, "mode", "seed"), (".gif", ".webp"))
    drawing.require(loaded, Decodes, HasPrior)
    rng.seed(keys.seed)
    with torch.no_grad():
        images = torch.stack([_images(loaded, keys) for _ in range(keys.n)], dim=1)
    frames = [image_grid(frame) for frame in images]
    drawing.write(path, animation(frames, keys.fps, path.suffix[1:].lower()))


def _images(loaded: LoadedRun, keys: Keys) -> Tensor:
    """One walk's images (stops · steps, C, H, W), on the host."""
    import torch

    from genlab.core.model import HasPrior, MixesStyles

    model = loaded.model
    assert isinstance(model, HasPrior)
    codes = model.prior(keys.stops)
    if not isinstance(model, MixesStyles) or keys.mode in ("lerp", "slerp"):
        if keys.mode == "style":
            raise ConfigError(f"model '{loaded.config['name']}' has no styles", "key mode=style", "try mode=slerp")
        return drawing.decoded(loaded, _round(codes, keys.steps, straight=keys.mode == "lerp"))
    styles = model.styles(codes)
    way = _round(styles.flatten(1), keys.steps, straight=True).unflatten(1, styles.shape[1:])
    return torch.cat([model.render(part).cpu() for part in way.split(256)])


def _round(codes: Tensor, steps: int, straight: bool) -> Tensor:
    """From each code (K, D) to the next, and from the last to the first: (K · steps, D), each code once."""
    ways = (lerp if straight else slerp)(codes, codes.roll(-1, 0), steps + 1)
    return ways[:, :-1].flatten(0, 1)

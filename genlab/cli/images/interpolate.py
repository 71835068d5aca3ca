"""genlab interpolate and genlab walk: images along a path from code to code, as a grid or as an animation.

The path is a straight line (lerp) or a great circle (slerp).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Gt, Lt
from pydantic import Field

from genlab.cli.images.image_command import (
    FILMS,
    GridKeys,
    ImageCommand,
    Save,
    Scale,
    Seed,
    Steps,
    decoded,
    grid,
    write,
)
from genlab.errors import ConfigError
from genlab.registry import Count

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

INTERPOLATE = """\
  genlab interpolate last                              both modes, row under row
  genlab interpolate last mode=slerp n=5 steps=12
  genlab interpolate last between=data out=path.png
"""
WALK = """\
  genlab walk last
  genlab walk last n=1 stops=8 steps=30 fps=25 out=walk.webp
"""
BETWEEN = "prior: random codes; data: codes of test images; auto: prior if the model has one"
MODE = "style: straight lines among styles; auto: style if the model has styles, else slerp"
# a GIF counts hundredths of a second, and viewers slow down frames shorter than two
Rate = Annotated[int, Gt(0), Lt(51), Field(description="frames a second")]


@dataclass(frozen=True)
class Keys(GridKeys):
    n: Annotated[Count, Field(description="pairs of codes, one a row")] = 8
    steps: Annotated[Steps, Field(description="images from one code to the other")] = 10
    mode: Annotated[Literal["lerp", "slerp", "both"], Field(description="path between codes")] = "both"
    between: Annotated[Literal["auto", "prior", "data"], Field(description=BETWEEN)] = "auto"
    seed: Seed = 0


@dataclass(frozen=True)
class WalkKeys:
    n: Annotated[Count, Field(description="walks, side by side")] = 9
    stops: Annotated[Steps, Field(description="codes that a walk passes before it is back")] = 4
    steps: Annotated[Steps, Field(description="frames from one code to the next")] = 15
    fps: Rate = 15
    mode: Annotated[Literal["auto", "lerp", "slerp", "style"], Field(description=MODE)] = "auto"
    seed: Seed = 0
    scale: Scale = 1
    out: Annotated[str | None, Field(description="GIF, WebP or MP4 file; null: RUN/images/...")] = None


def interpolate(loaded: LoadedRun, keys: Keys) -> Save:
    """`n` rows of `steps` images, ends included; mode "both" puts the lerp row of each pair above its slerp row."""
    import torch

    from genlab.reports.captions import Labels

    start, end = _ends(loaded, keys.n, keys.between)
    modes = {"lerp": lerp, "slerp": slerp}
    paths = [path(start, end, keys.steps) for mode, path in modes.items() if keys.mode in (mode, "both")]
    codes = torch.stack(paths, dim=1).flatten(0, 2)  # pair by pair, lerp before slerp, step by step
    rows = [mode for mode in modes if keys.mode in (mode, "both")] * len(start)
    return grid(decoded(loaded, codes), keys, keys.steps, labels=Labels(rows=rows))


def walk(loaded: LoadedRun, keys: WalkKeys) -> Save:
    """Each frame a grid of `n` images; after stops · steps frames every walk is back where it began."""
    import torch

    from genlab.reports.animation import animation
    from genlab.reports.grid import image_grid

    images = torch.stack([_walk_images(loaded, keys) for _ in range(keys.n)], dim=1)
    frames = [image_grid(frame, scale=keys.scale) for frame in images]
    return lambda target: write(target, animation(frames, keys.fps, target.path.suffix[1:].lower()))


def lerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Codes (N, D) and (N, D) to (N, steps, D) on the straight line between them, ends included."""
    t = _times(start, steps)
    return (1 - t) * start[:, None] + t * end[:, None]


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """The same along the great circle (Shoemake 1985): (sin((1−t)Ω) a + sin(tΩ) b) / sin Ω, Ω the angle of a and b.

    Codes in the same or in opposite directions have no such circle: there the straight line is taken.
    """
    import torch

    t = _times(start, steps)
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1).clamp(-1, 1)
    angle = torch.acos(cosine)[:, None, None]
    sine = torch.sin(angle)
    safe = torch.where(sine.abs() < 1e-4, torch.ones_like(sine), sine)
    arc = (torch.sin((1 - t) * angle) * start[:, None] + torch.sin(t * angle) * end[:, None]) / safe
    return torch.where(sine.abs() < 1e-4, lerp(start, end, steps), arc)


def _times(like: Tensor, steps: int) -> Tensor:
    import torch

    return torch.linspace(0, 1, steps, device=like.device, dtype=like.dtype)[None, :, None]


def _ends(loaded: LoadedRun, n: int, between: str) -> tuple[Tensor, Tensor]:
    """2n codes: from the prior, or of test images."""
    from genlab.core.model import Encodes, HasPrior

    model = loaded.model
    if between != "data" and isinstance(model, HasPrior):
        codes = model.prior(2 * n)
    elif between != "prior" and isinstance(model, Encodes):
        codes = model.encode(*loaded.data().split("test").take(2 * n, ("image", *loaded.model.conditions)))
    else:
        raise ConfigError(
            f"model '{loaded.config['name']}' has no codes from {between}", f"run {loaded.path}", "try between=auto"
        )
    if len(codes) < 2:
        raise ConfigError("fewer than two test images", f"run {loaded.path}", "try between=prior")
    return codes[0::2][: len(codes) // 2], codes[1::2]


def _walk_images(loaded: LoadedRun, keys: WalkKeys) -> Tensor:
    """One walk's images (stops · steps, C, H, W), on the host."""
    import torch

    from genlab.core.model import MixesStyles

    model: Any = loaded.model
    codes = model.prior(keys.stops)
    if not isinstance(model, MixesStyles) or keys.mode in ("lerp", "slerp"):
        if keys.mode == "style":
            raise ConfigError(f"model '{loaded.config['name']}' has no styles", "key mode=style", "try mode=slerp")
        return decoded(loaded, _closed(codes, keys.steps, straight=keys.mode == "lerp"))
    styles = model.styles(codes)
    path = _closed(styles.flatten(1), keys.steps, straight=True).unflatten(1, styles.shape[1:])
    return torch.cat([model.render(part).cpu() for part in path.split(256)])


def _closed(codes: Tensor, steps: int, straight: bool) -> Tensor:
    """From each code (K, D) to the next, and from the last to the first: (K · steps, D), each code once."""
    paths = (lerp if straight else slerp)(codes, codes.roll(-1, 0), steps + 1)
    return paths[:, :-1].flatten(0, 1)


COMMAND = ImageCommand(
    "interpolate", "Images along paths between codes.", INTERPOLATE, Keys, interpolate, "interpolation mode seed",
    needs=("Decodes",),
)  # fmt: skip
WALK_COMMAND = ImageCommand(
    "walk", "A closed path through codes as an endless animation.", WALK, WalkKeys, walk, "walk mode seed",
    needs=("Decodes", "HasPrior"), suffixes=FILMS,
)  # fmt: skip

"""genlab film: samples on their way from noise to data, as an animation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt, Le, Lt
from pydantic import Field

from genlab.cli.images.image_command import ImageCommand, Save, Seed, write
from genlab.cli.images.interpolate import Rate
from genlab.errors import ConfigError

if TYPE_CHECKING:
    from genlab.workflows.build import LoadedRun

EXAMPLES = """\
  genlab film last
  genlab film last n=25 steps=60 solver=euler fps=20 out=film.webp
  genlab film last label=7 guidance=2
"""
FEW, MANY = 16, 500  # samples shown: images, points
SIDE = 360  # pixels of a plot of points
MOST_PIXELS = 10**8  # of all frames
COUNT = f"samples, side by side; null: {FEW} images, or {MANY} points"
FRAMES = "states shown at most, evenly spaced over the steps; the last stays for a second"


@dataclass(frozen=True)
class Keys:
    n: Annotated[int | None, Gt(0), Le(2000), Field(description=COUNT)] = None
    frames: Annotated[int, Gt(1), Lt(200), Field(description=FRAMES)] = 60
    fps: Rate = 15
    seed: Seed = 0
    out: Annotated[str | None, Field(description="GIF or WebP file; null: RUN/images/...")] = None


def film(loaded: LoadedRun, keys: Keys, **options: Any) -> Save:
    """The states of n samples from noise to data, one a frame; points are drawn over those of the test split."""
    import torch

    from genlab.evaluation.sampling_path import frame, spread, states
    from genlab.reports.grid import animation
    from genlab.reports.vector_field import in_the_plane

    model: Any = loaded.model
    points = loaded.record["data"]["shape"][1:] == [1, 1]
    data = loaded.data().split("test").take(MANY, ("image",))[0] if points else None
    if data is not None and not in_the_plane(data):
        raise ConfigError("only points in the plane can be shown", f"run {loaded.path}", "try genlab eval RUN")
    n = keys.n or (MANY if points else FEW)
    blank = frame(model, torch.zeros(n, *loaded.record["data"]["shape"]), data, SIDE)
    pixels = len(spread(model, keys.frames, **options)) * blank.pixels[0].numel()
    if pixels > MOST_PIXELS:  # known before anything is sampled
        raise ConfigError(f"a film of {pixels // 10**6} million pixels is too large", "keys n and frames", "use fewer")
    frames = [frame(model, state, data, SIDE) for state in states(model, n, keys.frames, **options)]
    frames += frames[-1:] * (keys.fps - 1)
    return lambda target: write(target, animation(frames, keys.fps, target.path.suffix[1:].lower()))


COMMAND = ImageCommand(
    "film", "Samples on their way from noise to data, as an animation.", EXAMPLES, Keys, film, "film seed",
    needs=("HasPath",), options_of="sample", suffixes=(".gif", ".webp"),
)  # fmt: skip

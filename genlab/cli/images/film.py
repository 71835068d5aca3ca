"""genlab film: samples on their way from noise to data, or a run's images over training, as an animation or a strip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Gt, Le, Lt
from pydantic import Field

from genlab.cli.images.image_command import FILMS, GridKeys, ImageCommand, Save, Seed, require, write
from genlab.cli.images.interpolate import Rate
from genlab.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genlab.core.values import Image
    from genlab.workflows.build import LoadedRun

EXAMPLES = """\
  genlab film last
  genlab film last n=25 steps=60 solver=euler fps=20 out=film.mp4
  genlab film last label=7 guidance=2
  genlab film last over=training image=reconstructions fps=5
  genlab film last over=training strip=true frames=5 out=strip.png
"""
FEW, MANY = 16, 500  # samples shown: images, points
FRAMES, STILLS = 60, 6  # at most, of an animation and of a strip
SIDE = 360  # pixels of a plot of points
MOST_PIXELS = 10**8  # of all frames
COUNT = f"samples, side by side; null: {FEW} images, or {MANY} points"
LENGTH = (
    f"states shown at most, evenly spaced; null: {FRAMES}, or {STILLS} of a strip; a film rests at its end for a second"
)
OVER = "path: from noise to data; training: images that the run wrote; auto: path if the model has one"
IMAGE = "name of the run's images, over training: samples, reconstructions, ...; null: the first of these"
FILE = "GIF, WebP or MP4 file, or PNG for a strip; null: RUN/images/..."


@dataclass(frozen=True)
class Keys(GridKeys):
    over: Annotated[Literal["auto", "path", "training"], Field(description=OVER)] = "auto"
    image: Annotated[str | None, Field(description=IMAGE)] = None
    n: Annotated[int | None, Gt(0), Le(2000), Field(description=COUNT)] = None
    frames: Annotated[int | None, Gt(1), Lt(200), Field(description=LENGTH)] = None
    fps: Rate = 15
    strip: Annotated[bool, Field(description="one still image, the states side by side")] = False
    seed: Seed = 0
    out: Annotated[str | None, Field(description=FILE)] = None

    @property
    def still(self) -> bool:
        return self.strip or Path(self.out or "").suffix.lower() == ".png"

    @property
    def count(self) -> int:
        return self.frames or (STILLS if self.still else FRAMES)


def film(loaded: LoadedRun, keys: Keys, **options: Any) -> Save:
    """The states of n samples from noise to data, or the run's images over training, one a frame or side by side."""
    from genlab.core.model import HasPath

    if keys.still and keys.out and Path(keys.out).suffix.lower() != ".png":
        raise ConfigError("a strip is a PNG file", "keys strip and out", "give out=strip.png")
    if Path(keys.out or "").suffix.lower() == ".mp4":
        from genlab.reports.animation import require_video

        require_video()
    training = keys.over == "training" or (keys.over == "auto" and not isinstance(loaded.model, HasPath))
    if training and options:
        raise ConfigError(f"a film over training takes no {next(iter(options))}", "keys", "leave it out")
    frames, words = _over_training(loaded, keys) if training else _over_the_path(loaded, keys, options)
    return _strip(frames, words, keys) if keys.still else _animation(frames, words, keys)


def _over_training(loaded: LoadedRun, keys: Keys) -> tuple[list[Image], list[str]]:
    from genlab.reports import saved_images

    paths = saved_images.over_training(loaded.path, keys.image, keys.count)
    frames, steps = saved_images.frames(loaded.path, paths, MOST_PIXELS)
    return frames, [f"step {step:,}" for step in steps]


def _over_the_path(loaded: LoadedRun, keys: Keys, options: dict[str, Any]) -> tuple[list[Image], list[str]]:
    """Points are drawn over those of the test split."""
    import torch

    from genlab.evaluation.sampling_path import frame, spread, states
    from genlab.reports.vector_field import in_the_plane

    require(loaded, "HasPath")
    model: Any = loaded.model
    points = loaded.record["data"]["shape"][1:] == [1, 1]
    data = loaded.data().split("test").take(MANY, ("image",))[0] if points else None
    if data is not None and not in_the_plane(data):
        raise ConfigError("only points in the plane can be shown", f"run {loaded.path}", "try genlab eval RUN")
    n = keys.n or (MANY if points else FEW)
    blank = frame(model, torch.zeros(n, *loaded.record["data"]["shape"]), data, SIDE)
    wanted = sorted(spread(model, keys.count, **options))
    pixels = len(wanted) * blank.pixels[0].numel() * keys.scale**2
    if pixels > MOST_PIXELS:  # known before anything is sampled
        raise ConfigError(f"a film of {pixels // 10**6} million pixels is too large", "keys n and frames", "use fewer")
    found = [frame(model, state, data, SIDE) for state in states(model, n, keys.count, **options)]
    return found, [f"{step} of {wanted[-1]} steps" for step in wanted[: len(found)]]


def _animation(frames: Sequence[Image], words: Sequence[str], keys: Keys) -> Save:
    from genlab.core.values import Image
    from genlab.reports.animation import animation

    sheet = _sheet(frames, words, keys, columns=1, gap=0)
    drawn = [Image(part) for part in sheet.pixels.chunk(len(frames), 1)]  # of equal size, as is their text
    drawn += drawn[-1:] * (keys.fps - 1)
    return lambda target: write(target, animation(drawn, keys.fps, target.path.suffix[1:].lower()))


def _strip(frames: Sequence[Image], words: Sequence[str], keys: Keys) -> Save:
    sheet = _sheet(frames, words, keys, columns=len(frames), gap=4)
    return lambda target: write(target, sheet.png)


def _sheet(frames: Sequence[Image], words: Sequence[str], keys: Keys, columns: int, gap: int) -> Image:
    """The frames, each above its words."""
    import torch

    from genlab.reports.captions import Labels, labeled_grid

    images = torch.stack([frame.pixels for frame in frames]) / 255
    labels = Labels(below=words if keys.captions else ())
    return labeled_grid(images, columns, labels, gap, side=1, scale=keys.scale)


COMMAND = ImageCommand(
    "film", "Samples on their way from noise to data, or a run's images over training.", EXAMPLES, Keys, film,
    "film seed", options_of="sample", suffixes=(*FILMS, ".png"), suffix=lambda keys: ".png" if keys.still else ".gif",
)  # fmt: skip

"""genlab project: the image of a generator that is most like a picture, found by a search among its codes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from genlab.cli.images import drawing, user_images
from genlab.cli.options import Parser, keywords
from genlab.errors import ConfigError
from genlab.registry import Count, NonNegativeInt, PositiveFloat

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

CODES = 1000  # drawn to know where codes lie
GAP = 10  # pixels between what was given and what was found, so that they are not taken for one picture
Space = Literal["auto", "z", "w", "w+"]
KEYS = drawing.keys_text(
    image="a picture, or a folder of them", steps="of the search (500)", rate="of Adam (0.1)",
    space="z: codes; of a StyleGAN2 also w: one style, w+: one for each layer; auto: w+, else z",
    seed="of the noise (0)", out="PNG file",
)  # fmt: skip
EXAMPLES = """\
  genlab project last image=shoe.png
  genlab project last image=shoe.png space=w steps=1000 out=found.png
"""


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    image: str
    steps: Count = 500
    rate: PositiveFloat = 0.1
    space: Space = "auto"
    seed: NonNegativeInt = 0
    out: str | None = None


def parser() -> Parser:
    return drawing.picture_parser(
        "project", "Pictures, each above the image of a generator that is most like it.", KEYS, EXAMPLES
    )


def run(options: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, options.options))
    files = user_images.files_at(keys.image)
    loaded = drawing.open_run(options)
    from genlab.core.model import Decodes, HasPrior
    from genlab.runs import run_folder

    drawing.require(loaded, Decodes, HasPrior)
    shape = tuple(run_folder.data_facts(loaded.record, loaded.path)["shape"])
    target = user_images.read(files, shape).to(loaded.runtime.device)
    project(loaded, keys, target)
    return 0


def project(loaded: LoadedRun, keys: Keys, target: Tensor) -> None:
    """The pictures (N, C, H, W) in [0, 1], above what was found; and how near that is."""
    import torch

    from genlab.core import rng
    from genlab.reports.grid import image_grid
    from genlab.workflows import projection

    path = drawing.destination(keys.out, loaded, drawing.named("projection", keys, "image", "space", "seed"))
    rng.seed(keys.seed)
    with torch.no_grad():
        draw, start, spread = _search(loaded, keys.space, target)
        code = projection.project(draw, start, spread, target, keys.steps, keys.rate)
        found = draw(code)
    near = projection.psnr(found, target)
    mean = f", mean of {len(near)}" if len(near) > 1 else ""
    print(f"PSNR {float(near.mean()):.2f} dB{mean}; above: the given, below: the found")
    drawing.save(path, image_grid(torch.cat([target, found]).cpu(), len(target), gap=GAP))


def _search(loaded: LoadedRun, space: Space, target: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor, float]:
    """What draws an image, where the search begins, and how far codes lie apart."""
    from genlab.core.model import Decodes, HasPrior, MixesStyles

    model = loaded.model
    assert isinstance(model, Decodes)
    assert isinstance(model, HasPrior)
    codes = model.prior(CODES)
    if not isinstance(model, MixesStyles):
        if space not in ("auto", "z"):
            raise ConfigError(f"model '{loaded.config['name']}' has no styles", f"key space={space}", "try space=z")
        return model.decode, _nearest(model.decode, codes, target), float(codes.std())
    if space == "z":
        return model.decode, _nearest(model.decode, codes, target), float(codes.std())
    styles = model.styles(codes)
    layers = styles.shape[1]
    start, spread = styles.mean(0, keepdim=True), float(styles.std(0).square().mean().sqrt())
    if space == "w":
        start = start[:, :1]
    render = model.render
    return lambda w: render(w.expand(-1, layers, -1)), start.expand(len(target), -1, -1), spread


def _nearest(decode: Callable[[Tensor], Tensor], codes: Tensor, target: Tensor) -> Tensor:
    """For each picture, that of the codes whose image is nearest: a search from one place often ends in a poor one."""
    import torch

    images = torch.cat([decode(part) for part in codes.split(250)]).flatten(1)
    return codes[torch.cdist(target.flatten(1), images).argmin(1)]

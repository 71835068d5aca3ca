"""genlab project: the image of a generator that is most like a given image, found by a search among its codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from genlab.cli.images import user_images
from genlab.cli.images.image_command import GridKeys, ImageCommand, Save, Seed, grid
from genlab.errors import ConfigError
from genlab.registry import Count, PositiveFloat
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

CODES = 1000  # sampled to know where codes lie
GAP = 10  # pixels between the given images and those found
Space = Literal["auto", "z", "w", "w+"]
SPACE = "z: codes; of a StyleGAN2 also w: one style, w+: one style a layer; auto: w+, else z"
EXAMPLES = """\
  genlab project last image=shoe.png
  genlab project last image=shoe.png space=w steps=1000 out=found.png
"""


@dataclass(frozen=True)
class Keys(GridKeys):
    image: Annotated[str, Field(description="an image, or a folder of them")]
    steps: Annotated[Count, Field(description="of the search")] = 500
    rate: Annotated[PositiveFloat, Field(description="step size of Adam")] = 0.1
    space: Annotated[Space, Field(description=SPACE)] = "auto"
    seed: Seed = 0


def project(loaded: LoadedRun, keys: Keys) -> Save:
    """The given images above those found; prints how near they are."""
    import torch

    from genlab.evaluation import projection
    from genlab.nn.losses.image_similarity import psnr
    from genlab.reports.captions import Labels

    files = user_images.files_at(keys.image)
    target = user_images.for_model(loaded, files)
    decode, start, spread = _search(loaded, keys.space, target)
    found = decode(projection.project(decode, start, spread, target, keys.steps, keys.rate))
    ratio = psnr(found, target)
    mean = f", mean of {len(ratio)}" if len(ratio) > 1 else ""
    echo(f"PSNR {float(ratio.mean()):.2f} dB{mean}; above: given, below: found")
    below = [file.name for file in files] + [f"{float(each):.1f} dB" for each in ratio]
    return grid(
        torch.cat([target, found]).cpu(),
        keys,
        len(target),
        gap=GAP,
        labels=Labels(rows=["given", "found"], below=below),
    )


def _search(loaded: LoadedRun, space: Space, target: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor, float]:
    """The function from codes to images, the codes to start from, and the standard deviation of codes."""
    from genlab.core.model import MixesStyles
    from genlab.evaluation import projection

    model: Any = loaded.model
    codes = model.prior(CODES)
    if not isinstance(loaded.model, MixesStyles):
        if space not in ("auto", "z"):
            raise ConfigError(f"model '{loaded.config['name']}' has no styles", f"key space={space}", "try space=z")
        return model.decode, projection.nearest_codes(model.decode, codes, target, 1)[:, 0], float(codes.std())
    if space == "z":
        return model.decode, projection.nearest_codes(model.decode, codes, target, 1)[:, 0], float(codes.std())
    styles = model.styles(codes)
    layers = styles.shape[1]
    start, spread = styles.mean(0, keepdim=True), float(styles.std(0).square().mean().sqrt())
    if space == "w":
        start = start[:, :1]
    render = model.render
    return lambda w: render(w.expand(-1, layers, -1)), start.expand(len(target), -1, -1), spread


COMMAND = ImageCommand(
    "project", "Images, each above the image of a generator that is most like it.", EXAMPLES, Keys, project,
    "projection image space seed", needs=("Decodes", "HasPrior"),
)  # fmt: skip

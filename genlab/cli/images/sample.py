"""genlab sample: images from a trained model's distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Gt, Le
from pydantic import Field

from genlab.cli.images.image_command import (
    GridKeys,
    ImageCommand,
    Save,
    Seed,
    Target,
    class_names,
    grid,
    require,
    writing,
)
from genlab.errors import ConfigError
from genlab.registry import Count
from genlab.reports.image_folder import is_folder, write_folder
from genlab.utils.image_file import ARRAYS
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

EXAMPLES = """\
  genlab sample last
  genlab sample outputs/dcgan-mnist/2026-11-20_14-03-12 n=100 seed=7 out=samples.png
  genlab sample last n=60000 out=samples.npz        numbers, and labels if there are classes
  genlab sample last n=1000 out=samples/            numbered PNG files, with the class in each name
  genlab sample last label=7                        of a conditional model, e.g. cvae
  genlab sample last label=sneaker,bag n=20         names of classes, which take turns
  genlab sample last truncation=0.7 seed=3          of a StyleGAN2
  genlab sample last codes=mixture                  of an autoencoder, through a density fitted to its codes
"""
MOST_IN_A_GRID = 10_000
MOST_DIMENSIONS = 1024  # of codes with full covariances, whose cost grows with the square
SQUARE = "images in a row; null: a square, or one column a class where the model takes classes"
CODES = "sample through a density fitted to the codes of the training images; null: the model's own distribution"
FILE = f"PNG file; {', '.join(ARRAYS)}: all n as uint8 (n, C, H, W); FOLDER/: a PNG each; null: RUN/images/..."


@dataclass(frozen=True)
class Keys(GridKeys):
    n: Annotated[int, Gt(0), Le(100_000), Field(description="how many")] = 64
    seed: Seed = 0
    columns: Annotated[Count | None, Field(description=SQUARE)] = None
    codes: Annotated[Literal["gaussian", "mixture"] | None, Field(description=CODES)] = None
    components: Annotated[Count, Field(description="Gaussians in the mixture of codes=mixture")] = 10
    out: Annotated[str | None, Field(description=FILE)] = None


def through_codes(loaded: LoadedRun, keys: Keys) -> LoadedRun:
    """The run as it is, or with a model that samples through a density of codes, fitted to those of all of train."""
    from genlab.core.model import Decodes, Encodes, HasCodebook, Samples

    model: Any = loaded.model
    coded = isinstance(model, Encodes) and isinstance(model, Decodes)
    if keys.codes is None:
        if coded and not isinstance(model, Samples):
            what = f"model '{loaded.config['name']}' has no distribution of codes"
            raise ConfigError(what, f"run {loaded.path}", "add codes=gaussian or codes=mixture")
        return loaded
    require(loaded, "Encodes", "Decodes")
    if model.conditions or isinstance(model, HasCodebook):
        what = f"Gaussians do not fit the codes of model '{loaded.config['name']}', which hold a label or are discrete"
        raise ConfigError(what, "key codes", "leave it out")
    import torch

    from genlab.core import rng
    from genlab.evaluation.code_density import fitted
    from genlab.evaluation.latent import codes

    rng.seed(keys.seed)
    with torch.no_grad():
        found = codes(model, loaded.data().split("train")).to(loaded.runtime.device)
    if found.shape[1] > MOST_DIMENSIONS:
        what = f"codes of {found.shape[1]} dimensions are too large for full covariances"
        raise ConfigError(what, "key codes", f"train a model with at most {MOST_DIMENSIONS}")
    components = keys.components if keys.codes == "mixture" else 1
    if len(found) <= components:
        raise ConfigError(f"{components} components need more than {len(found)} images", "key components", "use fewer")
    return replace(loaded, model=fitted(model, found, components, keys.seed))


def sample(loaded: LoadedRun, keys: Keys, **options: Any) -> Save:
    """n samples as a grid, a file of numbers, or a folder; the same seed gives the same images on the same device.

    They are those that an evaluator draws with the same seed.
    """
    import torch

    from genlab.core import rng
    from genlab.core.sampling import classes_in_turn, sample_batches
    from genlab.engine.evaluate import EVALUATION_STREAM
    from genlab.evaluation.extraction import BATCH
    from genlab.utils import image_file

    in_numbers, in_folder = Path(keys.out or ".png").suffix.lower() in ARRAYS, is_folder(keys.out)
    if keys.n > MOST_IN_A_GRID and not (in_numbers or in_folder):
        raise ConfigError(f"{keys.n} images are too many for one grid", "key n", "give out=samples.npz or out=samples/")
    model: Any = loaded.model
    rng.seed(keys.seed, EVALUATION_STREAM)
    images = torch.cat([image_file.as_bytes(batch) for batch in sample_batches(model, keys.n, BATCH, **options)])
    label = options.get("label", range(classes_in_turn(model) or 0))
    classes = [label] if isinstance(label, int) else list(label or ())
    labels = [classes[i % len(classes)] for i in range(keys.n)] if classes else None
    if not (in_numbers or in_folder):
        return _grid(loaded, keys, images / 255, classes)

    def save(target: Target) -> None:
        if in_folder:
            write_folder(target.path, images, labels, class_names(loaded))
            echo(f"{target.path}/")
            return
        with writing(target) as file:
            image_file.write(file, target.path.suffix.lower(), images, labels)

    return save


def _grid(loaded: LoadedRun, keys: Keys, images: Tensor, classes: list[int]) -> Save:
    """The samples, whose `classes` take turns: columns of one class with its name above, or names below the images."""
    from genlab.reports.captions import Labels
    from genlab.reports.grid import columns_for, columns_of_classes

    names = class_names(loaded)
    words = [names[each] if each < len(names) else str(each) for each in classes]
    if len(words) == 1:
        return grid(images, keys, keys.columns, labels=Labels(caption=words[0]))
    columns = columns_for(len(images), keys.columns or columns_of_classes(len(words), len(images)))
    if words and columns % len(words) == 0:
        return grid(images, keys, columns, labels=Labels(columns=words * (columns // len(words))))
    below = [words[i % len(words)] for i in range(len(images))] if words else []
    return grid(images, keys, columns, labels=Labels(below=below))


COMMAND = ImageCommand(
    "sample", "Sample images from a trained model.", EXAMPLES, Keys, sample, "samples n seed",
    needs=("Samples",), options_of="sample", prepare=through_codes, suffixes=(".png", *ARRAYS), folders=True,
)  # fmt: skip

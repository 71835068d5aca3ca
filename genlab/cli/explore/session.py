"""What the page may ask of one trained model: each action is a method, its keyword parameters the request."""

from __future__ import annotations

import json
import math
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le, Len
from pydantic import BaseModel
from torch import Tensor

from genlab.cli.explore.codes import CodeMap, code_map, floats, sheet, tsne
from genlab.config.parameters import parameters
from genlab.core import rng
from genlab.core.model import (
    Decodes,
    Encodes,
    HasCodebook,
    HasPrior,
    MixesStyles,
    Reconstructs,
    Samples,
    Translates,
    TranslatesBack,
)
from genlab.core.sampling import classes_in_turn, sample_options
from genlab.data.dataset import Split
from genlab.errors import ConfigError, DataError, GenlabError
from genlab.evaluation.sampling_path import UNIT, has_steps, narrowed, states
from genlab.registry import NonNegativeInt, check_keywords, signature_schema
from genlab.reports.grid import class_columns
from genlab.runs import run_folder
from genlab.utils.terminal import say
from genlab.workflows.build import LoadedRun

AT_ONCE, SAMPLES = 512, 100  # codes, samples of a request at most
OF_CLASSES = ("label", "guidance")  # options of a model that takes classes only if it was trained with them
EXAMPLES = 200  # images of the data to draw on
Code = Annotated[list[float], Len(1, 2**18)]
Codes = Annotated[list[Code], Len(1, AT_ONCE)]
Pixels = Annotated[list[Annotated[int, Ge(0), Le(255)]], Len(1, 2**20)]  # row by row, channel by channel
Few = Annotated[int, Ge(1), Le(SAMPLES)]
Truncation = Annotated[float, Ge(0), Le(2)]


class Session:
    """A trained model, the images of a split, and what is made of them once. Not for several threads."""

    def __init__(self, loaded: LoadedRun, split: str = "valid", n: int = 1000, seed: int = 0) -> None:
        self.loaded, self.model, self.seed = loaded, loaded.model, seed
        self.record = run_folder.data_record(loaded.record, loaded.path)
        self.shape = tuple(self.record["shape"])
        self._split, self._n = split, n

    @cached_property
    def described(self) -> dict[str, Any]:
        """What the page shows: the run, and for each of its parts what it needs to know; None: not of this model."""
        model: Any = self.model
        able = {
            "codes": isinstance(model, Decodes) and isinstance(model, Encodes | HasPrior)
            and not isinstance(model, HasCodebook),
            "draw": isinstance(model, Reconstructs) and self.shape[0] == 1,
            "translate": isinstance(model, Translates),
            "back": isinstance(model, TranslatesBack),
            "mixes": isinstance(model, MixesStyles),
        }  # fmt: skip
        options = fields(sample_options(model)) if isinstance(model, Samples) else None
        if options and classes_in_turn(model) is None:
            options = [each for each in options if each["name"] not in OF_CLASSES]
        return {
            **able,
            "title": f"{self.loaded.config['name']} · {self.record['name']}",
            "folder": str(self.loaded.path),
            "step": self.loaded.step,
            "averaged": self.loaded.weights == "ema",
            "shape": list(self.shape),
            "names": self.record.get("label_names"),
            "classes": self._class_names() if classes_in_turn(model) or model.conditions else None,
            "conditional": bool(model.conditions),
            "sample": options,
            "path": options if has_steps(model) else None,
            "mix": model.styles(model.prior(1)).shape[1] if able["mixes"] and hasattr(model, "prior") else None,
            "encodes": isinstance(model, Encodes) and able["codes"],
        }

    def _class_names(self) -> list[str]:
        """The names of the classes, or their numbers."""
        return self.record.get("label_names") or [str(label) for label in range(self.record["num_classes"])]

    def answer(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request. ConfigError for an unknown action or a request that its method does not take."""
        if action not in ACTIONS:
            raise ConfigError(f"there is no action '{action[:40]}'", "the page", "load it again")
        method = getattr(self, action)
        values = check_keywords(signature_schema(method), request, action)
        rng.seed(self.seed)
        with torch.inference_mode():
            found: dict[str, Any] = method(**values)
        return found

    @cached_property
    def split(self) -> Split | None:
        """The images; None if the data set is no longer there."""
        try:
            return self.loaded.data().split(self._split)
        except GenlabError as error:
            if not isinstance(error, ConfigError | DataError):
                raise
            say(f"warning: the page shows no images of the data: {error}")
            return None

    @cached_property
    def map(self) -> CodeMap:
        return code_map(self.model, self.split if isinstance(self.model, Encodes) else None, self._n, self.seed)

    def codes(self) -> dict[str, Any]:
        """The map of codes."""
        self._model("codes")
        return self.map.json()

    def tsne(self) -> dict[str, Any]:
        """Other places of the codes on the map, (n, 3) with a third coordinate of 0."""
        self._model("codes")
        places = tsne(self.map.codes, self.seed)
        return {"positions": floats(torch.nn.functional.pad(places, (0, 1)))}

    def decode(self, codes: Codes, truncation: Truncation = 1.0, columns: Few | None = None) -> dict[str, Any]:
        """The images of codes of equal length."""
        self._model("codes")
        if len({len(code) for code in codes}) > 1 or len(codes[0]) != self.map.codes.shape[1]:
            raise ConfigError(f"codes of this model have {self.map.codes.shape[1]} numbers", "decode")
        return sheet(self.decoded(torch.tensor(codes), truncation), columns)

    def decoded(self, codes: Tensor, truncation: float = 1.0) -> Tensor:
        """Images (N, C, H, W) in [0, 1] of codes (N, D), on the host."""
        model, codes = self._model("codes"), codes.to(self.loaded.runtime.device)
        if truncation != 1 and isinstance(model, MixesStyles):
            return model.render(model.styles(codes, truncation)).cpu()
        images: Tensor = model.decode(codes).cpu()
        return images

    def draw(self, pixels: Pixels, label: NonNegativeInt | None = None) -> dict[str, Any]:
        """The reconstruction of a drawing and, if codes can be decoded, its code."""
        model, image = self._model("draw"), self._image(pixels)
        conditions = self._conditions(label)
        found = sheet(model.reconstruct(image, *conditions).cpu())
        if self.described["encodes"]:
            found["code"] = floats(model.encode(image, *conditions)[0])
        return found

    def sample(self, n: Few = 16, seed: NonNegativeInt = 0, options: dict[str, Any] | None = None) -> dict[str, Any]:
        """n samples; `options` are those of the model's own sample()."""
        model = self._model("sample")
        checked = check_keywords(sample_options(model), options or {}, "sample")
        rng.seed(seed)
        by_class = None if "label" in checked else class_columns(model, n)
        return sheet(model.sample(n, **checked).cpu(), by_class or int((n - 1) ** 0.5) + 1)

    def path(
        self, n: Few = 4, frames: Few = 9, seed: NonNegativeInt = 0, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """n samples, one a row, at `frames` states from noise to data."""
        model = self._model("path")
        checked = check_keywords(sample_options(model), options or {}, "path")
        rng.seed(seed)
        found = states(model, n, max(2, frames), **checked)
        columns = torch.stack([model.to_image(narrowed(state, UNIT)) for state in found], 1)
        return sheet(columns.flatten(0, 1).cpu(), len(found))

    def mix(
        self, first: NonNegativeInt, second: NonNegativeInt, layers: NonNegativeInt, truncation: Truncation = 1.0
    ) -> dict[str, Any]:
        """Three images: of two seeds, and of the styles of the first for so many coarse layers, then of the second."""
        model, styles = self._model("mix"), []
        for seed in (first, second):
            rng.seed(seed)
            styles.append(model.styles(model.prior(1), truncation))
        mixed = torch.cat([styles[0][:, :layers], styles[1][:, layers:]], 1)
        return sheet(model.render(torch.cat([*styles, mixed])).cpu())

    def translate(self, pixels: Pixels, back: bool = False, seed: NonNegativeInt = 0) -> dict[str, Any]:
        """The translation of an image."""
        model = self._model("back" if back else "translate")
        rng.seed(seed)
        return sheet((model.translate_back if back else model.translate)(self._image(pixels)).cpu())

    def example(self, index: NonNegativeInt = 0, column: Literal["image", "a", "b"] = "image") -> dict[str, Any]:
        """An image of the data, counted around, to draw on; its label if it has one class."""
        if self.split is None:
            raise ConfigError("the data set is not there", "example", "draw an image")
        drawn = self.split.drawn(EXAMPLES)
        row = index % len(drawn)
        classes = drawn.classes()
        [images] = drawn.take(len(drawn), (column,))
        return {**sheet(images[row : row + 1].float().cpu()), "label": None if classes is None else int(classes[row])}

    def _model(self, part: str) -> Any:
        """The model; ConfigError if it lacks this part of the page."""
        if self.described[part] in (None, False):
            raise ConfigError(
                f"model '{self.loaded.config['name']}' lacks what this needs", part, "load the page again"
            )
        return self.model

    def _image(self, pixels: list[int]) -> Tensor:
        if len(pixels) != math.prod(self.shape):
            raise ConfigError(f"an image of this model has {math.prod(self.shape)} values", "pixels")
        return torch.tensor(pixels, device=self.loaded.runtime.device).view(1, *self.shape) / 255

    def _conditions(self, label: int | None) -> list[Tensor]:
        if not self.model.conditions:
            return []
        classes = self.record["num_classes"]
        if label is None or label >= classes:
            raise ConfigError("the encoder of this model needs a class", "label", f"give one from 0 to {classes - 1}")
        return [torch.tensor([label], device=self.loaded.runtime.device)]


ACTIONS = ("codes", "tsne", "decode", "draw", "sample", "path", "mix", "translate", "example")


def fields(schema: type[BaseModel]) -> list[dict[str, Any]]:
    """The options of a schema, for the page's form: name, kind, default, choices, bounds and meaning."""
    described = schema.model_json_schema()["properties"]
    found = []
    for each in parameters(schema):
        kind = "choice" if each.choices else "integer" if each.allowed.startswith("integer") else "number"
        members = [described[each.name], *described[each.name].get("anyOf", [])]
        bounds = {key: member[key] for member in members for key in ("minimum", "maximum") if key in member}
        found.append({"name": each.name, "kind": kind, "choices": each.choices, "meaning": each.meaning,
                      "default": json.loads(each.default) if each.default else None, **bounds})  # fmt: skip
    return found

"""The values that evaluators return and loggers receive: scalars, images, embeddings, diagnoses."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from genlab.utils.terminal import say


@dataclass(frozen=True)
class Image:
    """One image to look at: uint8 (C, H, W), C 1 or 3, on the host. A notebook shows it."""

    pixels: Tensor

    def __repr__(self) -> str:
        channels, height, width = self.pixels.shape
        return f"Image({width} x {height} pixels, {'color' if channels == 3 else 'gray'})"

    def _repr_png_(self) -> bytes:
        return self.png

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes

    @cached_property
    def png(self) -> bytes:
        """The PNG file; encoded once for all loggers."""
        import PIL.Image

        array = self.pixels.permute(1, 2, 0).contiguous().numpy()
        image = PIL.Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", compress_level=PNG_LEVEL)
        return buffer.getvalue()


@dataclass(frozen=True)
class Embedding:
    """Latent codes float32 (N, D), their thumbnails float (N, C, H, W) in [0, 1], and labels (N,) or None."""

    codes: Tensor
    thumbnails: Tensor
    labels: Tensor | None = None

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.thumbnails.nbytes


@dataclass(frozen=True)
class Diagnosis:
    """A problem in training, as one sentence that ends with the override that treats it, if there is one.

    It is reported only after the fraction `after` of training, up to which it may disappear by itself, and after
    `steps` optimizer steps, before which the model has learned too little.
    """

    sentence: str
    after: float = 0.0
    steps: int = 0

    def due(self, step: int, total: int = 0) -> bool:
        """Whether to report it after `step` of `total` steps; total 0: the number is unknown."""
        return step >= self.steps and (total == 0 or step > self.after * total)


UNTAUGHT = 500  # updates of a network before diagnoses are reported: until then it has learned too little
PNG_LEVEL = 1  # of zlib: a third of the time of the usual 6, for files a fifth larger

Value = float | Tensor | Image | Embedding | Diagnosis


class Logger:
    """Receives the reports of training. Every method does nothing unless a logger overrides it."""

    evaluations: ClassVar[bool] = False  # True: also receives the numbers of `genlab eval`, with the folder RUN/eval

    def start(self, first_step: int, last_step: int, title: str) -> None:
        """Training begins at `first_step` (0, or where a run resumes) and ends at `last_step`."""

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Numbers of one split ("train", "valid") after `step` optimizer steps."""

    def image(self, step: int, name: str, image: Image) -> None: ...

    def embedding(self, step: int, name: str, embedding: Embedding) -> None: ...

    def text(self, step: int, name: str, text: str) -> None: ...

    def hparams(self, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Once, at the end: the configuration and the final metrics."""

    def flush(self) -> None:
        """Write everything logged so far to the disk; called before each checkpoint."""

    def close(self) -> None: ...


class ForwardingLogger(Logger):
    """Passes every call on to `forward`, as the name of the method and its arguments."""

    def forward(self, method: str, *arguments: Any) -> None:
        raise NotImplementedError

    def start(self, first_step: int, last_step: int, title: str) -> None:
        self.forward("start", first_step, last_step, title)

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        self.forward("scalars", step, split, values)

    def image(self, step: int, name: str, image: Image) -> None:
        self.forward("image", step, name, image)

    def embedding(self, step: int, name: str, embedding: Embedding) -> None:
        self.forward("embedding", step, name, embedding)

    def text(self, step: int, name: str, text: str) -> None:
        self.forward("text", step, name, text)

    def hparams(self, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        self.forward("hparams", config, metrics)

    def flush(self) -> None:
        self.forward("flush")


class Loggers(ForwardingLogger):
    """Sends everything to several loggers. One that fails on the disk is reported once and left out.

    Any other error ends the run: metrics.jsonl, the reference, turns a full disk into a ResourceError.
    """

    def __init__(self, loggers: Iterable[Logger]) -> None:
        self._loggers = list(loggers)

    def forward(self, method: str, *arguments: Any) -> None:
        for logger in list(self._loggers):
            try:
                getattr(logger, method)(*arguments)
            except OSError as error:
                self._loggers.remove(logger)
                say(f"warning: {type(logger).__name__} stopped logging ({error}); the command continues")

    def close(self) -> None:
        self.forward("close")

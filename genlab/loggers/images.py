"""Images as PNG files, for those who look without TensorBoard."""

from __future__ import annotations

import re
from pathlib import Path

from genlab.core.values import Image, Logger
from genlab.registry import LOGGERS
from genlab.reports.grid import save_png


@LOGGERS("images")
class Images(Logger):
    """Writes each image to RUN/images/<name>-<step, 8 digits>.png; the newest of a name sorts last.

    A run that resumes at step k first removes the images of later steps, which it will draw again.
    """

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        self._folder = folder / "images"
        self._resumed_at = resumed_at

    def start(self, first_step: int, last_step: int, title: str) -> None:
        if self._resumed_at is None:
            return
        for path in self._folder.glob("*.png"):
            step = re.search(r"-(\d{8,})\.png$", path.name)
            if step and int(step[1]) > self._resumed_at:
                path.unlink()

    def image(self, step: int, name: str, image: Image) -> None:
        save_png(self._folder / f"{name.replace('/', '-')}-{step:08d}.png", image)

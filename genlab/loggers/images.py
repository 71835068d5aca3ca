"""Images as PNG files, for those who look without TensorBoard."""

from __future__ import annotations

import re
from pathlib import Path

from genlab.core.values import Image, Logger
from genlab.registry import LOGGERS
from genlab.utils.own_folder import OwnFolder


@LOGGERS("images")
class Images(Logger):
    """Writes each image to RUN/images/<name>-<step, 8 digits>.png; the newest of a name sorts last.

    A run that resumes at step k first removes the images of later steps, which it will draw again.
    """

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        self._folder = OwnFolder(folder)
        self._resumed_at = resumed_at

    def start(self, first_step: int, last_step: int, title: str) -> None:
        if self._resumed_at is None:
            return
        for file in self._folder.names("images"):
            step = re.search(r"-(\d{8,})\.png$", file)
            if step and int(step[1]) > self._resumed_at:
                self._folder.delete(f"images/{file}")

    def image(self, step: int, name: str, image: Image) -> None:
        self._folder.write(f"images/{name.replace('/', '-')}-{step:08d}.png", image.png)

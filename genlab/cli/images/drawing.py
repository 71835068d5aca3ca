"""The files that commands draw, made and shown in Python: `genlab.draw` and `genlab.plot`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.cli import COMMANDS, load_command
from genlab.errors import ConfigError, nearest

SHOWN = {".png": "image/png", ".gif": "image/gif", ".webp": "image/webp", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Drawing:
    """A file that a command wrote; a notebook shows it if it is a PNG, GIF, WebP or SVG file."""

    path: Path

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        kind = SHOWN.get(self.path.suffix.lower())
        if kind is None or not self.path.is_file():
            return {"text/plain": repr(self)}
        content = self.path.read_bytes()
        shown = content.decode() if "xml" in kind else base64.b64encode(content).decode()
        return {"text/plain": repr(self), kind: shown}


def draw(command: str, runs: Sequence[str], keys: Mapping[str, Any]) -> Drawing:
    """What `genlab COMMAND RUNS KEY=VALUE` writes; ConfigError for a command that draws nothing."""
    drawing = [name for name, (where, _) in COMMANDS.items() if where.startswith("images.")]
    if command not in drawing:
        raise ConfigError(f"command '{command[:60]}' draws no image", "genlab.draw", nearest(command, drawing))
    found = load_command(command)
    words = [f"{key}={as_word(value)}" for key, value in keys.items()]
    return Drawing(found.draw(found.parser().parse([*runs, *words])))


def as_word(value: Any) -> str:
    """A value as it is written on the command line: 7, true, null, [0,1] or text."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(as_word, value))}]"
    return json.dumps(value) if isinstance(value, bool | int | float | None) else str(value)

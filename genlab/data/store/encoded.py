"""Encoded images in files, in a zip archive, or in several of them: their names and bytes by index.

They are sent to child processes, so they open no file until they are first read there.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from genlab.data.store.image import MAX_BYTES, BadImage
from genlab.errors import DataError


class Encoded(Protocol):
    """Encoded images in a fixed order."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Encoded:
        """The images from start to stop, as a small object."""

    def place(self) -> str:
        """The folder or archive of all images, for messages."""

    def name(self, index: int) -> str:
        """The file, or the archive and the entry, for messages."""

    def read(self, index: int) -> bytes:
        """The encoded image; BadImage if it cannot be read."""


@dataclass
class Files:
    """Image files below a folder."""

    folder: Path
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def part(self, start: int, stop: int) -> Files:
        return Files(self.folder, self.names[start:stop])

    def place(self) -> str:
        return str(self.folder)

    def name(self, index: int) -> str:
        return str(self.folder / self.names[index])

    def read(self, index: int) -> bytes:
        try:
            with (self.folder / self.names[index]).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise BadImage(f"cannot be read: {error.strerror}") from None
        if len(data) > MAX_BYTES:
            raise BadImage(f"longer than {MAX_BYTES} bytes")
        return data


@dataclass
class Zip:
    """Entries of a zip archive, read in place, never extracted."""

    archive: Path
    names: list[str]
    _open: zipfile.ZipFile | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def part(self, start: int, stop: int) -> Zip:
        return Zip(self.archive, self.names[start:stop])

    def place(self) -> str:
        return str(self.archive)

    def name(self, index: int) -> str:
        return f"{self.archive}:{self.names[index]}"

    def read(self, index: int) -> bytes:
        if self._open is None:
            self._open = open_zip(self.archive)
        try:
            with self._open.open(self.names[index]) as entry:
                data = entry.read(MAX_BYTES + 1)
        except Exception as error:  # bad checksums, unknown methods, passwords, bad deflate streams, ...
            raise BadImage(f"{type(error).__name__}: {error}") from None
        if len(data) > MAX_BYTES:
            raise BadImage(f"longer than {MAX_BYTES} bytes")
        return data


def open_zip(archive: Path) -> zipfile.ZipFile:
    """The archive, or a DataError that names it."""
    try:
        return zipfile.ZipFile(archive)
    except Exception as error:  # BadZipFile, but also struct.error, ValueError, ... on damaged directories
        raise DataError(
            f"{archive} is not a readable zip archive ({type(error).__name__}: {error})",
            "it may be truncated",
            "download it again",
        ) from None


@dataclass
class Chain:
    """Several sources, one after the other."""

    links: list[Encoded]

    def __len__(self) -> int:
        return sum(len(link) for link in self.links)

    def part(self, start: int, stop: int) -> Chain:
        parts = []
        for link in self.links:
            parts.append(link.part(max(0, min(start, len(link))), max(0, min(stop, len(link)))))
            start, stop = start - len(link), stop - len(link)
        return Chain(parts)

    def place(self) -> str:
        return " and ".join(dict.fromkeys(link.place() for link in self.links if len(link)))

    def name(self, index: int) -> str:
        link, index = self._find(index)
        return link.name(index)

    def read(self, index: int) -> bytes:
        link, index = self._find(index)
        return link.read(index)

    def _find(self, index: int) -> tuple[Encoded, int]:
        for link in self.links:
            if index < len(link):
                return link, index
            index -= len(link)
        raise IndexError(index)

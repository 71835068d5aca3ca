"""Encoded images in files, in a zip archive, or in several of them: their names and bytes by index.

They are sent to child processes, so they open no file until they are first read there.
"""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from genlab.data.store.image import MAX_BYTES, BadImage, size_of
from genlab.errors import DataError
from genlab.utils.files import open_regular


class Encoded(Protocol):
    """Encoded images in a fixed order."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Encoded:
        """The images from start to stop, as a small object."""

    def location(self) -> str:
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
        return type(self)(self.folder, self.names[start:stop])

    def location(self) -> str:
        return str(self.folder)

    def name(self, index: int) -> str:
        return str(self.folder / self.names[index])

    def read(self, index: int) -> bytes:
        try:
            with self._open(self.names[index]) as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise BadImage(error.strerror or str(error)) from None
        except Exception as error:  # of a zip: bad checksums, unknown methods, passwords, bad deflate streams, ...
            raise BadImage(f"{type(error).__name__}: {error}") from None
        if len(data) > MAX_BYTES:
            raise BadImage(f"longer than {MAX_BYTES} bytes")
        return data

    def _open(self, name: str) -> IO[bytes]:
        try:
            return open(open_regular(self.folder / name, follow=True), "rb")
        except ValueError:
            raise OSError(errno.EINVAL, "not a regular file") from None


@dataclass
class Zip(Files):
    """Entries of the zip archive `folder`, read in place, never extracted."""

    _archive: zipfile.ZipFile | None = field(default=None, repr=False)

    def name(self, index: int) -> str:
        return f"{self.folder}:{self.names[index]}"

    def _open(self, name: str) -> IO[bytes]:
        self._archive = self._archive or open_zip(self.folder)
        return self._archive.open(name)


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

    def location(self) -> str:
        return " and ".join(dict.fromkeys(link.location() for link in self.links if len(link)))

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


def sizes(encoded: Encoded) -> Iterator[tuple[str, tuple[int, int]]]:
    """The name of each image and its (width, height), from its header. DataError for one that cannot be read."""
    for index in range(len(encoded)):
        try:
            yield encoded.name(index), size_of(encoded.read(index))
        except BadImage as error:
            raise DataError(
                f"{encoded.name(index)} cannot be read", str(error), "restore it, or leave it out"
            ) from None

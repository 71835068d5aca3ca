"""Files of a gzipped tar archive, read in place and within bounds: a header's extension may claim any length."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path

TOTAL = 2**28  # bytes of the unpacked archive, more than any that is read here
AT_ONCE = 2**18  # bytes of one read; tarfile reads the extension of a header whole
CHUNK = 2**16
MEMBERS = 100


class _Bounded(gzip.GzipFile):
    """The unpacked archive; ReadError for a read that is too large, or too far from the beginning."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= AT_ONCE:
            raise tarfile.ReadError("a header is too long")
        self._check(self.tell())
        return super().read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check(offset)
        return super().seek(offset, whence)

    def _check(self, place: int) -> None:
        if place > TOTAL:
            raise tarfile.ReadError(f"it unpacks to more than {TOTAL} bytes")


def contents(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The content of the archive's files of these names. A damaged archive may make it raise anything."""
    with _Bounded(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        held = {member.name: _content(archive, member) for member in islice(archive, MEMBERS) if member.name in names}
    missing = next((name for name in names if name not in held), None)
    if missing:
        raise tarfile.ReadError(f"it does not contain {missing}")
    return held


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isreg() and member.size <= TOTAL else None
    if file is None:
        raise tarfile.ReadError(f"{member.name} is no file of the expected size")
    data = b"".join(iter(partial(file.read, CHUNK), b""))
    if len(data) != member.size:
        raise tarfile.ReadError(f"{member.name} is cut off")
    return data

"""Files of a gzipped tar archive, read in place and within bounds: a header's extension may claim any length."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Sequence
from pathlib import Path

TOTAL = 2**28  # bytes of the unpacked archive, more than any that is read here
HEADERS = 2**20  # bytes of all headers with their extensions, which tarfile keeps in memory


class _Bounded(gzip.GzipFile):
    """The unpacked archive; ReadError for headers that are too long, and for what is too far from the beginning."""

    headers = 0

    def read(self, size: int | None = -1) -> bytes:
        """For tarfile, which reads nothing but headers with it."""
        if size is None or size < 0 or self.headers + size > HEADERS:
            raise tarfile.ReadError("its headers are too long")
        self.headers += size
        return super().read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset > TOTAL:
            raise tarfile.ReadError(f"it unpacks to more than {TOTAL} bytes")
        return super().seek(offset, whence)

    def content(self, member: tarfile.TarInfo) -> bytes:
        if not member.isreg() or member.issparse() or member.size > TOTAL:
            raise tarfile.ReadError(f"{member.name} is no file of the expected size")
        self.seek(member.offset_data)
        data = super().read(member.size)
        if len(data) != member.size:
            raise tarfile.ReadError(f"{member.name} is cut off")
        return data


def contents(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The content of the archive's files of these names. A damaged archive may make it raise anything."""
    with _Bounded(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        held = {member.name: stream.content(member) for member in archive if member.name in names}
    missing = next((name for name in names if name not in held), None)
    if missing:
        raise tarfile.ReadError(f"it does not contain {missing}")
    return held

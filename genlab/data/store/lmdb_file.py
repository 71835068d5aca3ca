"""Whether an LMDB is complete, according to its two meta pages before the library maps it.

LMDB reads through a memory map: a truncated file ends the process with SIGBUS, which cannot be caught. Layout: MDB_page
and MDB_meta in mdb.c of OpenLDAP, 64-bit little-endian.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from genlab.errors import DataError

MAGIC, VERSION = 0xBEEFC0DE, 1
HEADER = 16  # page number, flags, free space
META = struct.Struct("<II QQ IHHQQQQQ IHHQQQQQ QQ")  # magic, version; address, mapsize; two trees; last page, txn
PAGE_SIZE, LAST_PAGE, TRANSACTION = 4, 20, 21  # places among META's fields


class Meta(NamedTuple):
    page_size: int
    last_page: int
    transaction: int


def check(folder: Path) -> None:
    """DataError unless `folder/data.mdb` is an LMDB whose last used page is within the file."""
    file = folder / "data.mdb"
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            first = _meta(opened.read(4096), file)
            opened.seek(first.page_size)
            second = _meta(opened.read(4096), file)
    except OSError as error:
        raise DataError(f"{file} cannot be read", str(error.strerror), "check the file") from None
    newest = max(first, second, key=lambda meta: meta.transaction)
    needed = (newest.last_page + 1) * first.page_size
    if second.page_size != first.page_size or size < needed:
        raise _damaged(file, f"it has {size} bytes and its pages need {needed}")


def _meta(page: bytes, file: Path) -> Meta:
    if len(page) < HEADER + META.size:
        raise _damaged(file, "it is truncated within its first pages")
    fields = META.unpack_from(page, HEADER)
    if fields[0] != MAGIC or fields[1] != VERSION:
        raise _damaged(file, f"its magic number and version are {fields[0]:#x}, {fields[1]}")
    meta = Meta(fields[PAGE_SIZE], fields[LAST_PAGE], fields[TRANSACTION])
    if meta.page_size not in (2**k for k in range(8, 17)):
        raise _damaged(file, f"its page size is {meta.page_size}")
    return meta


def _damaged(file: Path, how: str) -> DataError:
    return DataError(f"{file} is not a complete LMDB", how, "download it again")

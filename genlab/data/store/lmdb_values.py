"""Images that are the values of an LMDB, by index in the order of the keys.

LMDB has no access by index, and three million keys are 300 MB of Python objects. So it is scanned once, every `MARK`-th
key is kept, and a reader steps on from there. The memory map of LMDB counts every page it has touched as memory of the
process, so it is reopened from time to time. Only child processes open it, after `lmdb_file.check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from genlab.data.store import isolate, lmdb_file
from genlab.data.store.image import BadImage
from genlab.errors import DataError

MARK = 256  # every MARK-th key is kept
SCAN = 64 * MARK  # keys scanned before the database is reopened
READ = 16 * 2**20  # bytes read before it is reopened


@dataclass
class Lmdb:
    """`count` values, the first one `skip` (less than MARK) keys after `marks[0]`."""

    folder: Path
    marks: list[bytes]
    count: int
    skip: int = 0
    _open: Any = field(default=None, repr=False)
    _cursor: Any = field(default=None, repr=False)
    _at: int = -1  # index of the image at the cursor
    _read: int = 0  # bytes since the database was opened

    def __len__(self) -> int:
        return self.count

    def part(self, start: int, stop: int) -> Lmdb:
        first, last = self.skip + start, self.skip + stop
        return Lmdb(self.folder, self.marks[first // MARK : -(-last // MARK)], stop - start, first % MARK)

    def location(self) -> str:
        return str(self.folder)

    def name(self, index: int) -> str:
        import lmdb

        try:
            self._seek(index)
            return f"{self.folder}:{self._cursor.key().decode(errors='replace')}"
        except (BadImage, lmdb.Error):
            return f"{self.folder}: a key that cannot be read"

    def read(self, index: int) -> bytes:
        import lmdb

        try:
            self._seek(index)
            data = bytes(self._cursor.value())
        except lmdb.Error as error:
            raise BadImage(str(error)) from None
        self._read += len(data)
        return data

    def _seek(self, index: int) -> None:
        """Move the cursor to an image: one step from its neighbor, otherwise from the mark before it."""
        if self._read > READ:
            self._cursor = None
            self._open.close()
            self._read = 0
        if self._cursor is None:
            self._open = open_lmdb(self.folder)
            self._cursor = self._open.begin().cursor()
            self._at = -1
        if index == self._at:
            return
        mark, steps = divmod(self.skip + index, MARK)
        if index == self._at + 1 and self._at >= 0:
            found = self._cursor.next()
        else:
            found = self._cursor.set_key(self.marks[mark]) and all(self._cursor.next() for _ in range(steps))
        if not found:
            self._at = -1
            raise BadImage("its key is gone")
        self._at = index


def values(folder: Path) -> Lmdb:
    """All values of an LMDB, whose keys a child process scans; DataError if it is damaged or empty."""
    lmdb_file.check(folder)
    [(marks, count)] = isolate.run([(scan, (folder,))], str(folder))
    if not count:
        raise DataError(f"{folder} holds no images", "the database is empty", "download it again")
    return Lmdb(folder, marks, count)


def open_lmdb(folder: Path) -> Any:
    """A read-only environment without a lock file."""
    import lmdb

    return lmdb.open(str(folder), readonly=True, lock=False, readahead=False, max_spare_txns=1)


def scan(folder: Path) -> Iterator[tuple[list[bytes], int]]:
    """Every MARK-th key and the number of keys, as one result; DataError if they cannot be read. For a child."""
    import lmdb

    marks: list[bytes] = []
    count, last = 0, b""
    try:
        while True:
            keys = _stretch(folder, last, count)
            if not keys:
                break
            marks += keys[-count % MARK :: MARK]
            count, last = count + len(keys), keys[-1]
    except lmdb.Error as error:
        raise DataError(f"{folder} is a damaged LMDB ({error})", "reading its keys", "download it again") from None
    yield marks, count


def _stretch(folder: Path, after: bytes, count: int) -> list[bytes]:
    """The next SCAN keys after `after`, the `count`-th key; lmdb.Error if their number contradicts the database."""
    import lmdb

    with open_lmdb(folder) as environment, environment.begin() as transaction:
        entries = transaction.stat()["entries"]
        cursor = transaction.cursor()
        begun = cursor.set_key(after) and cursor.next() if after else cursor.first()
        keys = [bytes(key) for key in islice(cursor.iternext(values=False), SCAN)] if begun else []
    if count + len(keys) > entries or (
        not keys and count != entries
    ):  # otherwise a damaged one could be scanned forever
        raise lmdb.Error(f"it has {entries} keys and {count + len(keys)} were found")
    return keys

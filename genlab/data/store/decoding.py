"""Decoding pictures into the rows of a store's images.npy, on all cores.

The work is cut into blocks of rows. Each has a hash, made where it is decoded, so that the whole file need not be read
again; a block that an earlier, interrupted build left whole is told by its hash and not decoded again.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genlab.data.store import isolate
from genlab.data.store.encoded import Encoded
from genlab.data.store.image import BadImage, Form, Pixels, decode
from genlab.errors import DataError
from genlab.utils import subprocesses

BLOCK = 256  # rows with a hash of their own; a child's share is a number of whole blocks
RUN = 64  # rows held in memory and written at a time


class Block(NamedTuple):
    """A finished block: its first row, how many, their sha256 (hex), the unreadable ones and why."""

    first: int
    rows: int
    digest: str
    bad: dict[int, str]


@dataclass(frozen=True)
class DecodeJob:
    """Pictures, and the place in a file where their rows go: row i starts at `offset` + i times a row's bytes."""

    pictures: Encoded
    form: Form
    file: str
    offset: int
    go_on: bool  # past unreadable pictures
    go_on_key: str | None = None  # what decides about that, for a message
    known: dict[int, Block] = field(default_factory=dict)  # by first row: what an earlier build noted
    first: int = 0
    block: int = field(default_factory=lambda: BLOCK)

    def part(self, start: int, stop: int) -> DecodeJob:
        known = {row: block for row, block in self.known.items() if start <= row < stop}
        return replace(self, pictures=self.pictures.part(start, stop), known=known, first=start)


def header(shape: tuple[int, ...]) -> bytes:
    """What stands before the data in a .npy file of uint8 of `shape`."""
    import io

    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return out.getvalue()


def decode_all(job: DecodeJob, limit: int, show: Callable[[int, int], None] | None = None) -> list[Block]:
    """Write all rows, and a note of each finished block beside them; returns the blocks in order.

    DataError at the first unreadable picture, or, if the job goes on past them, once there are more than `limit`.
    """
    total = len(job.pictures)
    number = -(-total // job.block)
    workers = max(1, min(subprocesses.cores(), number))
    cuts = [min(total, job.block * (number * k // workers)) for k in range(workers + 1)]
    jobs: list[isolate.Job] = [(decode_rows, (job.part(start, stop),)) for start, stop in pairwise(cuts)]
    blocks, done, bad = [], 0, {}
    with journal(job.file).open("a") as notes:
        for block in isolate.run(jobs, what=job.pictures.place()):
            notes.write(json.dumps(block) + "\n")
            notes.flush()
            blocks.append(block)
            done += block.rows
            bad.update(block.bad)
            if len(bad) > limit:
                raise DataError(
                    f"{len(bad)} of {total} pictures cannot be read, more than the {limit} that may be left out",
                    f"the first is {bad[min(bad)]}",
                    "restore them from their source",
                )
            if show:
                show(done, total)
    return sorted(blocks)


def journal(file: str | Path) -> Path:
    """Where the finished blocks of `file` are noted while it is being made."""
    return Path(f"{file}.blocks")


def noted(file: Path) -> dict[int, Block]:
    """The blocks that an interrupted build noted, by first row. They are believed only if the rows have the hash."""
    blocks = {}
    with suppress(OSError):
        for line in journal(file).read_text().splitlines():
            with suppress(ValueError, TypeError, AttributeError):  # the last line of a killed build may be cut
                first, rows, digest, bad = json.loads(line)
                blocks[int(first)] = Block(first, rows, digest, {int(row): str(why) for row, why in bad.items()})
    return blocks


def decode_rows(job: DecodeJob) -> Iterator[Block]:
    """A child's share, reported block by block. Rows are written with pwrite: a full disk is then an error, not a
    SIGBUS as it would be through a memory map."""
    warnings.simplefilter("ignore")  # of Pillow's, about files that it decodes or that BadImage tells of
    file = os.open(job.file, os.O_RDWR)
    try:
        for start in range(0, len(job.pictures), job.block):
            count = min(job.block, len(job.pictures) - start)
            known = job.known.get(job.first + start)
            if known and known.rows == count and _on_disk(job, file, start, count) == known.digest:
                yield known
            else:
                yield _decoded(job, file, start, count)
    finally:
        os.close(file)


def _decoded(job: DecodeJob, file: int, start: int, count: int) -> Block:
    """Decode and write `count` rows from `start` of this job on."""
    rows = np.empty((min(RUN, count), job.form.planes, job.form.size, job.form.size), np.uint8)
    digest, bad = hashlib.sha256(), {}
    for low in range(start, start + count, RUN):
        run = rows[: min(RUN, start + count - low)]
        for row, index in zip(run, range(low, low + len(run)), strict=True):
            why = _decode_into(row, job, index)
            if why:
                bad[job.first + index] = why
        data = run.reshape(-1).data
        digest.update(data)
        _write(file, data, job.offset + (job.first + low) * rows[0].nbytes)
    return Block(job.first + start, count, digest.hexdigest(), bad)


def _on_disk(job: DecodeJob, file: int, start: int, count: int) -> str:
    """The hash of rows as they stand in the file."""
    row_bytes = job.form.planes * job.form.size**2
    digest = hashlib.sha256()
    for low in range(start, start + count, RUN):
        rows = min(RUN, start + count - low)
        digest.update(os.pread(file, rows * row_bytes, job.offset + (job.first + low) * row_bytes))
    return digest.hexdigest()


def _write(file: int, data: memoryview, offset: int) -> None:
    """All of it: the last write before a disk is full is short without an error, the next one fails."""
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def _decode_into(row: Pixels, job: DecodeJob, index: int) -> str | None:
    """Fill one row; zeros, and which picture it is and why, if it cannot be read."""
    try:
        row[:] = decode(job.pictures.read(index), job.form)
    except BadImage as error:
        name = job.pictures.name(index)
        if not job.go_on:
            skip = f", or leave such pictures out with {job.go_on_key}=skip" if job.go_on_key else ""
            raise DataError(
                f"picture {job.first + index}, {name}, cannot be read", str(error), f"restore it from its source{skip}"
            ) from None
        row[:] = 0
        return f"{name} ({error})"
    return None

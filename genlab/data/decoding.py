"""Decoding pictures into the rows of a store's images.npy, on all cores."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from genlab.data import isolate
from genlab.data.encoded import Encoded
from genlab.data.images import BadImage, Form, decode
from genlab.errors import DataError

Progress = tuple[int, dict[int, str]]  # pictures done since the last report; unreadable rows and why

BLOCK = 64  # rows a child writes and reports at a time
LEAST = 256  # pictures that make one more child worth its start


@dataclass(frozen=True)
class DecodeJob:
    """Pictures, and the place in a file where their rows go: row i starts at `offset` + i times a row's bytes."""

    pictures: Encoded
    form: Form
    file: str
    offset: int
    go_on: bool  # past unreadable pictures
    first: int = 0

    def part(self, start: int, stop: int) -> DecodeJob:
        return replace(self, pictures=self.pictures.part(start, stop), first=start)


def write_header(file: Path, shape: tuple[int, ...]) -> int:
    """Start a .npy file of uint8 zeros of `shape`; returns where its data begin."""
    with file.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        offset = out.tell()
        out.truncate(offset + int(np.prod(shape)))
    return offset


def decode_all(job: DecodeJob, show: Callable[[int, int], None] | None = None) -> dict[int, str]:
    """Write all rows; returns the unreadable ones and why. DataError at the first one unless the job goes on."""
    total = len(job.pictures)
    workers = max(1, min(isolate.cores(), total // LEAST))
    cuts = [total * k // workers for k in range(workers + 1)]
    jobs: list[isolate.Job] = [(decode_rows, (job.part(start, stop),)) for start, stop in pairwise(cuts)]
    done, bad = 0, {}
    for count, failed in isolate.run(jobs, what=job.pictures.name(0)):
        done += count
        bad.update(failed)
        if show:
            show(done, total)
    return bad


def decode_rows(job: DecodeJob) -> Iterator[Progress]:
    """A child's share, reported block by block. Rows are written with pwrite: a full disk is then an error, not a
    SIGBUS as it would be through a memory map."""
    warnings.simplefilter("ignore")  # of Pillow's, about files that it decodes or that BadImage tells of
    row_bytes = job.form.channels * job.form.size**2
    out = os.open(job.file, os.O_WRONLY)
    try:
        for start in range(0, len(job.pictures), BLOCK):
            stop = min(start + BLOCK, len(job.pictures))
            bad: dict[int, str] = {}
            rows = np.concatenate([_row(job, index, bad) for index in range(start, stop)])
            _write(out, rows.tobytes(), job.offset + (job.first + start) * row_bytes)
            yield stop - start, bad
    finally:
        os.close(out)


def _write(out: int, data: bytes, offset: int) -> None:
    """All of it: the last write before a disk is full is short without an error, the next one fails."""
    while data:
        written = os.pwrite(out, data, offset)
        data, offset = data[written:], offset + written


def _row(job: DecodeJob, index: int, bad: dict[int, str]) -> np.ndarray:
    """One row flat; zeros, and a note in `bad`, for a picture that cannot be read."""
    try:
        return decode(job.pictures.read(index), job.form).reshape(-1)
    except BadImage as error:
        if not job.go_on:
            raise DataError(
                f"picture {job.first + index}, {job.pictures.name(index)}, cannot be read",
                str(error),
                "restore it from its source, or leave such pictures out with dataset.on_error=skip",
            ) from None
        bad[job.first + index] = str(error)
        return np.zeros(job.form.channels * job.form.size**2, np.uint8)

"""Decoding images into the images.npy of a store, on all cores.

The work is cut into blocks of images. Each block is hashed where it is decoded, so that the whole file need not be read
again; a block that an interrupted build has finished is recognized by its hash and not decoded again.
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

BLOCK = 256  # images with a common hash; each child process decodes whole blocks
RUN = 64  # images held in memory and written at a time


class Block(NamedTuple):
    """A finished block: its first index, its number of images, their sha256 (hex), the unreadable ones and why."""

    first: int
    n: int
    digest: str
    bad: dict[int, str]


@dataclass(frozen=True)
class DecodeJob:
    """Images and their position in a file: image i starts at `offset` + i times the bytes of an image."""

    encoded: Encoded
    form: Form
    file: str
    offset: int
    skip: bool  # leave out unreadable images
    skip_key: str | None = None  # the key that decides about it, for messages
    known: dict[int, Block] = field(default_factory=dict)  # by first index: the journal of an earlier build
    first: int = 0
    block: int = field(default_factory=lambda: BLOCK)

    def part(self, start: int, stop: int) -> DecodeJob:
        known = {first: block for first, block in self.known.items() if start <= first < stop}
        return replace(self, encoded=self.encoded.part(start, stop), known=known, first=start)


def header(shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file of uint8 with this shape."""
    import io

    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return out.getvalue()


def decode_all(job: DecodeJob, limit: int, progress: Callable[[int, int], None] | None = None) -> list[Block]:
    """Decode all images and note each finished block in a journal; returns the blocks in order.

    DataError at the first unreadable image, or, if the job skips them, once there are more than `limit`.
    """
    total = len(job.encoded)
    number = -(-total // job.block)
    workers = max(1, min(subprocesses.cores(), number))
    cuts = [min(total, job.block * (number * k // workers)) for k in range(workers + 1)]
    jobs: list[isolate.Job] = [(decode_rows, (job.part(start, stop),)) for start, stop in pairwise(cuts)]
    blocks, done, bad = [], 0, {}
    with journal(job.file).open("a") as notes:
        for block in isolate.run(jobs, what=job.encoded.location()):
            notes.write(json.dumps(block) + "\n")
            notes.flush()
            blocks.append(block)
            done += block.n
            bad.update(block.bad)
            if len(bad) > limit:
                raise DataError(
                    f"{len(bad)} of {total} images cannot be read, more than the {limit} that may be left out",
                    f"the first is {bad[min(bad)]}",
                    "restore them from their source",
                )
            if progress:
                progress(done, total)
    return sorted(blocks)


def journal(file: str | Path) -> Path:
    """The file that lists the finished blocks of `file` while it is built."""
    return Path(f"{file}.blocks")


def noted(file: Path) -> dict[int, Block]:
    """The blocks in the journal of an interrupted build, by first index. Their hashes are still to be verified."""
    blocks = {}
    with suppress(OSError):
        for line in journal(file).read_text().splitlines():
            with suppress(ValueError, TypeError, AttributeError):  # the last line of a killed build may be cut
                first, count, digest, bad = json.loads(line)
                blocks[int(first)] = Block(first, count, digest, {int(index): str(why) for index, why in bad.items()})
    return blocks


def decode_rows(job: DecodeJob) -> Iterator[Block]:
    """The work of one child process, reported block by block.

    Images are written with pwrite: a full disk is then an error, not a SIGBUS as with a memory map.
    """
    warnings.simplefilter("ignore")  # Pillow's, about files that it decodes or that raise BadImage
    file = os.open(job.file, os.O_RDWR)
    try:
        for start in range(0, len(job.encoded), job.block):
            count = min(job.block, len(job.encoded) - start)
            known = job.known.get(job.first + start)
            if known and known.n == count and _on_disk(job, file, start, count) == known.digest:
                yield known
            else:
                yield _decoded(job, file, start, count)
    finally:
        os.close(file)


def _decoded(job: DecodeJob, file: int, start: int, count: int) -> Block:
    """Decode and write `count` images, beginning with number `start` of this job."""
    images = np.empty((min(RUN, count), job.form.planes, job.form.size, job.form.size), np.uint8)
    digest, bad = hashlib.sha256(), {}
    for low in range(start, start + count, RUN):
        run = images[: min(RUN, start + count - low)]
        for image, index in zip(run, range(low, low + len(run)), strict=True):
            why = _decode_into(image, job, index)
            if why:
                bad[job.first + index] = why
        data = run.reshape(-1).data
        digest.update(data)
        _write(file, data, job.offset + (job.first + low) * images[0].nbytes)
    return Block(job.first + start, count, digest.hexdigest(), bad)


def _on_disk(job: DecodeJob, file: int, start: int, count: int) -> str:
    """The hash of images as they are in the file."""
    image_bytes = job.form.planes * job.form.size**2
    digest = hashlib.sha256()
    for low in range(start, start + count, RUN):
        n = min(RUN, start + count - low)
        digest.update(os.pread(file, n * image_bytes, job.offset + (job.first + low) * image_bytes))
    return digest.hexdigest()


def _write(file: int, data: memoryview, offset: int) -> None:
    """Write all of it: the last write before a disk is full is short without an error, the next one fails."""
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def _decode_into(image: Pixels, job: DecodeJob, index: int) -> str | None:
    """Fill one image; if it cannot be read, zeros, and which image it is and why."""
    try:
        image[:] = decode(job.encoded.read(index), job.form)
    except BadImage as error:
        name = job.encoded.name(index)
        if not job.skip:
            skip = f", or leave such images out with {job.skip_key}=skip" if job.skip_key else ""
            raise DataError(
                f"image {job.first + index}, {name}, cannot be read", str(error), f"restore it from its source{skip}"
            ) from None
        image[:] = 0
        return f"{name} ({error})"
    return None

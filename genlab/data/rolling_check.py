"""Comparing a store with its hashes while training: a byte that a disk has changed would be trained on unnoticed."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from genlab.data.store.stored_array import StoredArray
from genlab.distributed.ranks import from_environment
from genlab.errors import DataError

PIECE = 2**18  # bytes that are read and hashed at a time, at most once a step
BUSY = 0.01  # fraction of the time in which the thread reads and hashes: 10 MB/s at 1 GB/s


class RollingCheck:
    """A thread reads the blocks of a store again and again, and compares their hashes.

    The first block depends on the step at which training begins, so that short runs of the same data check different
    ones. Ranks that may read the same disk divide the blocks: this one checks one block of every `parts`.
    """

    def __init__(self, stored: StoredArray, part: int = 0, parts: int = 1) -> None:
        self._stored, self._part, self._parts = stored, part, parts
        self._pieces: Iterator[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._begun: Future[None] | None = None
        self._rests_until = 0.0

    @classmethod
    def on_this_host(cls, stored: StoredArray) -> RollingCheck:
        """Of all blocks, divided among the ranks of this host alone: each host has its own disk, or its own cache."""
        ranks = from_environment()
        return cls(stored, ranks.local_rank, ranks.local_world_size) if ranks.local_world_size else cls(stored)

    def advance(self, step: int) -> None:
        """Begin the next piece if the last one is done and its rest is over. DataError if a block has changed."""
        if self._begun is not None:
            if not self._begun.done():
                return
            self._begun.result()
        if time.perf_counter() < self._rests_until:
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="genlab-data-check")
        if self._pieces is None:
            self._pieces = self._walk(step * self._parts + self._part)
        self._begun = self._thread.submit(self._check_piece, self._pieces)

    def close(self) -> None:
        """End the thread after its current piece."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._thread = self._begun = None

    def _check_piece(self, pieces: Iterator[None]) -> None:
        began = time.perf_counter()
        next(pieces)
        now = time.perf_counter()
        self._rests_until = now + (now - began) * (1 / BUSY - 1)

    def _walk(self, first: int) -> Iterator[None]:
        """Read block after block without end, one piece between two yields."""
        stored, buffer = self._stored, np.empty(PIECE, np.uint8)
        assert stored.blocks is not None
        size, digests = stored.blocks
        for number in itertools.count(first, self._parts):
            block = number % len(digests)
            end, digest = min((block + 1) * size, stored.nbytes), hashlib.sha256()
            for offset in range(block * size, end, PIECE):
                piece = buffer[: min(PIECE, end - offset)]
                stored.fill(piece, offset)
                digest.update(piece.data)
                yield
            if digest.hexdigest() != digests[block]:
                raise DataError(
                    f"{stored.path} has changed since it was decoded",
                    f"block {block}, bytes {block * size} to {end - 1} of the images",
                    "repair it by `genlab prepare` with the same dataset and verify=true, then resume the run",
                )

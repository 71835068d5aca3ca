"""TensorBoard's record format, held against TensorBoard's own code."""

from __future__ import annotations

import random
import struct

import pytest
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as theirs
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from genlab.loggers.records import SHORT, crc32c, record


def test_crc_of_the_published_example() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(2000)) == theirs(bytes(2000))
    assert crc32c(b"\xff" * 2000) == theirs(b"\xff" * 2000)


@pytest.mark.parametrize("size", [0, 1, 8, SHORT - 1, SHORT, SHORT + 1, 1027, 4096, 30_011])
def test_crc_agrees_with_tensorboard(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert crc32c(data) == theirs(data)


def test_a_record_is_length_payload_and_their_masked_crcs() -> None:
    payload = random.Random(0).randbytes(5000)
    length = struct.pack("<Q", 5000)
    masked = [struct.pack("<I", masked_crc32c(part)) for part in (length, payload)]
    assert record(payload) == length + masked[0] + payload + masked[1]

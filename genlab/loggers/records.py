"""TFRecord files, the form of TensorBoard's event files: length, payload, and a CRC-32C of each.

TensorBoard's own writer takes the CRC in a Python loop, a byte at a time: several milliseconds an image, during
which no other thread runs. Here long payloads are cut into lanes that numpy goes along together.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
ONES = 0xFFFFFFFF
SHORT = 1024  # bytes: below, the plain loop is faster than setting up lanes
LANES = 1024


def record(payload: bytes) -> bytes:
    """One record, ready to be appended to a file."""
    length = struct.pack("<Q", len(payload))
    return b"".join([length, _masked(crc32c(length)), payload, _masked(crc32c(payload))])


def _masked(crc: int) -> bytes:
    """TFRecord stores a CRC turned by 15 bits and shifted, so that the CRC of data that hold CRCs stays useful."""
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & ONES)


def crc32c(data: bytes) -> int:
    """The CRC-32C (RFC 3720, appendix B.4) of `data`."""
    if len(data) < SHORT:
        table, crc = _small_table(), ONES
        for byte in data:
            crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
        return crc ^ ONES
    return int(_in_lanes(data)) ^ ONES


def _in_lanes(data: bytes) -> np.uint32:
    """The register after `data`. It is linear over GF(2), so lanes may start from 0 and be joined afterwards."""
    size = -(-len(data) // LANES)
    padded = np.zeros(LANES * size, np.uint8)  # zeros in front leave a register of 0 as it is
    padded[-len(data) :] = np.frombuffer(data, np.uint8)
    padded[len(padded) - len(data) :][:4] ^= 0xFF  # a register that starts from all ones
    table, register = _table(), np.zeros(LANES, np.uint32)
    for column in np.ascontiguousarray(padded.reshape(LANES, size).T):
        register = table[(register ^ column) & 0xFF] ^ register >> 8
    while len(register) > 1:  # join neighbors: the left one goes over the right one's length of zeros
        register = _over_zeros(register[0::2], size) ^ register[1::2]
        size *= 2
    return np.uint32(register[0])


@lru_cache(maxsize=1)
def _table() -> Words:
    """The CRC table: the effect on the register of each byte shifted out."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, POLYNOMIAL ^ table >> 1, table >> 1).astype(np.uint32)
    return table


@lru_cache(maxsize=1)
def _small_table() -> list[int]:
    return [int(word) for word in _table()]


def _over_zeros(registers: Words, size: int) -> Words:
    """Registers after `size` zero bytes: by squaring, one power of two of zeros at a time."""
    power = 0
    while size >> power:
        if size >> power & 1:
            registers = _times(_zeros_matrix(power), registers)
        power += 1
    return registers


@lru_cache(maxsize=64)
def _zeros_matrix(power: int) -> Words:
    """The images of the 32 unit registers under 2**power zero bytes."""
    if power:
        half = _zeros_matrix(power - 1)
        return _times(half, half)
    units = np.uint32(1) << np.arange(32, dtype=np.uint32)
    return _table()[units & 0xFF] ^ units >> 8


def _times(matrix: Words, registers: Words) -> Words:
    """Each register's image: the sum (exclusive or) of its set bits' images."""
    bits = (registers[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    return np.bitwise_xor.reduce(bits * matrix, axis=1).astype(np.uint32)

"""MNIST (LeCun, Cortes and Burges, 1998) and the sets in its format: Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017),
Kuzushiji-MNIST (Clanuwat et al., 2018, arXiv:1812.01718).

The IDX format: a magic number, a big-endian uint32 for each dimension, then the bytes.
"""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from genlab.data.dataset import Source, StoredDataset, fixed
from genlab.data.splits import Held
from genlab.data.store.encoded import open_zip
from genlab.data.store.image import Pixels, resize_all
from genlab.errors import DataError
from genlab.registry import DATASETS

UINT8 = 0x08
ENCRYPTED = 0x1  # the flag of a member of a ZIP archive
MAX_ITEMS = 2_000_000  # more than any set in this format; a hostile header may claim 2**32
SIDE = 28
PARTS = {"train": "train", "test": "t10k"}


@dataclass(kw_only=True)
class _IDX(StoredDataset):
    """60,000 training and 10,000 test images of 28x28 gray pixels in ten classes.

    Sizes 29 to 32 add a border of zeros, as GAN papers do; other sizes are resized with antialiasing.
    """

    folder: ClassVar[str]
    class_names: ClassVar[tuple[str, ...]]
    mirrors: ClassVar[tuple[str, ...]]
    md5: ClassVar[dict[str, str]]  # of the gzipped files

    valid: Held = 5000
    test: int = fixed(0)

    def files(self) -> list[Path]:
        return [self._file(name) for name in self.md5]

    def _file(self, name: str) -> Path:
        """The file, gzipped or not; downloaded into the cache if it is missing and the key `root` is not set."""
        folders, names = (f"{self.folder}/raw/", "raw/", ""), (name, name.removesuffix(".gz"))
        places = [folder + file for folder in folders for file in names]
        return self.find_or_fetch(name, f"{self.folder}/raw", self.mirrors, self.md5[name], *places)

    def read(self) -> Source:
        files = dict(zip(self.md5, self.files(), strict=True))
        images, labels = zip(*(self._part(files, prefix) for prefix in PARTS.values()), strict=True)
        return Source(
            {part: len(pixels) for part, pixels in zip(PARTS, images, strict=True)},
            bordered(np.concatenate(images)[:, None], self.size),
            np.concatenate(labels),
            list(self.class_names),
        )

    def _part(self, files: dict[str, Path], prefix: str) -> tuple[Pixels, NDArray[np.int64]]:
        both = [files[f"{prefix}-{kind}-ubyte.gz"] for kind in ("images-idx3", "labels-idx1")]
        return read_labeled(both, len(self.class_names))


def read_labeled(
    files: Sequence[Path], classes: int, first: int = 0, members: Sequence[str | None] = (None, None)
) -> tuple[Pixels, NDArray[np.int64]]:
    """Images uint8 (N, 28, 28) and labels (N,) in [0, classes), from the files of the images and of the labels.

    In the file, labels count from `first`. `members` are the files' names if `files` are ZIP archives.
    """
    images, labels = files
    pixels = read_idx(images, (SIDE, SIDE), members[0])
    numbers = read_idx(labels, (), members[1]).astype(np.int64) - first
    if len(pixels) != len(numbers):
        raise DataError(
            f"{images} holds {len(pixels)} images and {labels} {len(numbers)} labels",
            "they do not belong together",
            "download both again",
        )
    if not 0 <= numbers.min() <= numbers.max() < classes:
        wrong = numbers.max() if numbers.max() >= classes else numbers.min()
        raise DataError(
            f"{labels} holds the label {wrong + first}", f"there are {classes} classes", "download it again"
        )
    return pixels, numbers


def bordered(images: Pixels, size: int | None) -> Pixels:
    """Images (N, 1, 28, 28) with a border of zeros for sizes 29 to 32, resized for others; None: as they are."""
    if size is None or not SIDE < size <= 32:
        return np.ascontiguousarray(resize_all(images, size))
    before, after = (size - SIDE) // 2, (size - SIDE + 1) // 2
    return np.pad(images, ((0, 0), (0, 0), (before, after), (before, after)))


@DATASETS("mnist")
@dataclass(kw_only=True)
class MNIST(_IDX):
    """Handwritten digits."""

    name = "mnist"
    folder = "MNIST"
    class_names = tuple("0123456789")
    mirrors = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
    md5: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }


@DATASETS("fashion_mnist")
@dataclass(kw_only=True)
class FashionMNIST(_IDX):
    """Articles of clothing, a drop-in for MNIST."""

    name = "fashion_mnist"
    folder = "FashionMNIST"
    class_names = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
    )  # fmt: skip
    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    md5: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }


@DATASETS("kmnist")
@dataclass(kw_only=True)
class KMNIST(_IDX):
    """Kuzushiji-MNIST: cursive Japanese characters, a drop-in for MNIST."""

    name = "kmnist"
    folder = "KMNIST"
    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    mirrors = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    md5: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
        "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
        "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
        "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
    }


def read_idx(path: Path, item: tuple[int, ...], member: str | None = None) -> NDArray[np.uint8]:
    """uint8 (N, *item) from a plain or gzipped (`.gz`) file; DataError if it holds anything else, or more, or less.

    With `member`, from a gzipped file in a ZIP archive. Memory is bounded by the content of the file, whatever its
    header claims.
    """
    try:
        if member is None:
            with _opened(path) as file:
                return _read(path, file, item, path.stat().st_size)
        with open_zip(path) as archive, _entry(archive, member) as packed, gzip.open(packed) as file:
            return _read(path / member, cast(BinaryIO, file), item, archive.getinfo(member).file_size)
    except KeyError:
        raise _damaged(path, f"it does not contain {member}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, UnicodeError) as error:
        what = "its gzip stream" if member is None else f"the ZIP archive, or {member} in it,"
        raise _damaged(path, f"{what} is damaged or truncated ({error})") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read", str(error.strerror or error), "check the file") from None


def _entry(archive: zipfile.ZipFile, member: str) -> IO[bytes]:
    """The member as a file. BadZipFile unless it is stored or deflated; other methods raise errors of their own."""
    entry = archive.getinfo(member)
    if entry.flag_bits & ENCRYPTED:
        raise zipfile.BadZipFile("it is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"it is packed by method {entry.compress_type} instead of deflate")
    return archive.open(entry)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _read(path: Path, file: BinaryIO, item: tuple[int, ...], size: int) -> NDArray[np.uint8]:
    """The array in an opened file; `size` is that of the file as it is stored, in bytes."""
    magic = (UINT8 << 8) | (1 + len(item))
    length = 4 * (2 + len(item))
    header = file.read(length)
    if len(header) < length:
        raise _damaged(path, f"its header has {len(header)} bytes instead of {length}")
    found, *dims = (int(number) for number in np.frombuffer(header, ">u4"))
    if found != magic:
        raise _damaged(path, f"its magic number is {found:#010x} instead of {magic:#010x}")
    if tuple(dims[1:]) != item:
        raise _damaged(path, f"its items are {dims[1:]} instead of {list(item)}")
    if not 0 < dims[0] <= MAX_ITEMS:
        raise _damaged(path, f"its header claims {dims[0]} items")
    expected = math.prod(dims)
    if size > length + expected + expected // 1000 + 2**12:  # deflate makes nothing longer
        raise _damaged(path, f"it has {size} bytes for {expected} after the header")
    body = file.read(expected + 1)  # one byte more than expected shows a file that is too long
    if len(body) != expected:
        actual = f"{len(body)}" if len(body) < expected else f"more than {expected}"
        raise _damaged(path, f"expected {expected} bytes after the header and found {actual}")
    return np.frombuffer(body, np.uint8).reshape(dims)


def _damaged(path: Path, how: str) -> DataError:
    return DataError(f"{path} is not a valid IDX file", how, "download it again")

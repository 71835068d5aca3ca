"""Any NumPy array and any `torch.utils.data.Dataset` as a data set: its samples are copied to a store once."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import StackDataset

from genlab.data.dataset import Dataset, Source, StoredDataset
from genlab.data.store.image import in_mode, resize_all
from genlab.data.store.store import Progress
from genlab.errors import ConfigError, DataError, GenlabError
from genlab.registry import DATASETS, Spec
from genlab.utils.paths import cache_folder

IMAGE_KEYS = ("image", "images", "img", "pixel_values", "x")  # of a sample that is a mapping, and of a .npz file
LABEL_KEYS = ("label", "labels", "target", "y")
PASSED: dict[str, Any] = {}  # samples passed from Python, by their hash
LABELS = ("targets", "labels")  # attributes of torch datasets that hold all labels
IMAGES = 10_000  # images of a torch dataset with such an attribute that are hashed; all else is hashed whole


@dataclass(kw_only=True)
class AdaptedDataset(StoredDataset):
    """A data set whose `samples` are an array, or a torch dataset with a length.

    A sample is an image, a point, a tuple (image, label, ...) or a mapping with "image" and perhaps "label". Images are
    PIL images, or arrays (H, W), (H, W, C) or (C, H, W), C 1 or 3, of uint8, bool or floats in [0, 1]; points are
    arrays (D,) of any range. Labels are integers or strings, one per image, or vectors of attributes 0 or 1.
    """

    samples: Any = field(default=None, init=False, repr=False)

    @cached_property
    def source_hash(self) -> str:
        return samples_hash(self.samples)

    def source(self, progress: Progress | None) -> Source:
        images, labels = _copied(self.samples, self.size, progress)
        return Source({"train": len(images)}, images, *_as_labels(labels, getattr(self.samples, "classes", None)))


def adapt(samples: Any, **keys: Any) -> AdaptedDataset:
    """A data set of `samples` (see `as_samples`) with the keys of others: `size`, `valid`, `flip`, ..."""
    dataset = AdaptedDataset(**keys)
    dataset.samples = as_samples(samples)
    return dataset


def build_dataset(spec: Spec, where: str = "dataset", *, seed: int) -> Any:
    """The data set of a spec. A registered function may return samples instead, which are adapted."""
    built = DATASETS.build(spec, where, seed=seed)
    dataset = built if isinstance(built, Dataset) else adapt(built)
    if isinstance(dataset, AdaptedDataset):
        dataset.name, dataset.seed = spec["name"], seed
    return dataset


def pass_samples(samples: Any, overrides: Sequence[str] = ()) -> list[str]:
    """`overrides`, and those that select `samples`, from now on known to this process, as the data set of a run."""
    named = next((word for word in overrides if word.startswith("dataset=")), None)
    if named:
        raise ConfigError(f"samples are passed, and the overrides say {named}", "argument dataset", "give one of them")
    samples = as_samples(samples)
    content = samples_hash(samples)
    PASSED[content] = samples
    return ["dataset=array", f"dataset.content={content}", *overrides]


def as_samples(samples: Any) -> Any:
    """An array, a torch dataset with a length, or the samples of a tuple (images, labels); ConfigError otherwise."""
    try:
        if isinstance(samples, tuple):
            images, labels = samples
            together: Any = StackDataset(images, _as_array(labels))  # type: ignore[arg-type]  # any array will do
            return together
        if len(samples) and hasattr(samples, "__getitem__") and not isinstance(samples, Mapping | str | bytes):
            return samples
        why = f"{len(samples)} samples"
    except (TypeError, ValueError) as error:
        why = str(error)
    raise ConfigError(
        f"a {type(samples).__name__} is not a data set ({why})",
        "the images to train on",
        "pass a NumPy array, a tuple (images, labels), or a torch.utils.data.Dataset with a length",
    )


def samples_hash(samples: Any) -> str:
    """sha256 (hex) of arrays, or of all labels and up to 10,000 images of a torch dataset.

    Labels are read from its attribute `targets` or `labels`; without one, every sample is read and hashed. ConfigError
    if its samples vary.
    """
    digest = hashlib.sha256()
    together = isinstance(samples, StackDataset) and isinstance(samples.datasets, tuple)
    for part in samples.datasets if together else [samples]:
        if isinstance(part, np.ndarray | Tensor):
            _absorb(part, digest)
            continue
        digest.update(f"{len(part)} {_fingerprint(part, 0)}".encode())
        if _fingerprint(part, 0) != _fingerprint(part, 0):
            raise ConfigError(
                "the samples change whenever they are read",
                f"the {type(part).__name__} to train on",
                "remove random transforms; dataset.flip and model.augment augment instead",
            )
        labels = _labels_of(part)
        if labels is not None:
            _absorb(labels, digest)
        for index in range(0, len(part), 1 if labels is None else -(-len(part) // IMAGES)):
            digest.update(_fingerprint(part, index).encode())
    return digest.hexdigest()


def _labels_of(dataset: Any) -> NDArray[Any] | None:
    """All labels that an attribute of the torch dataset holds, or None."""
    for name in LABELS:
        with contextlib.suppress(ConfigError, TypeError, ValueError):  # of another kind, length or shape
            labels = _as_array(getattr(dataset, name, None))
            if len(labels) == len(dataset):
                return labels
    return None


def _absorb(values: Any, digest: hashlib._Hash) -> None:
    array = np.ascontiguousarray(_as_array(values))
    digest.update(f"{array.dtype.str} {array.shape}".encode())
    digest.update(array.reshape(-1).view(np.uint8).data)


def _as_array(values: Any) -> NDArray[Any]:
    """An array, a tensor or a list as an array; ConfigError for a dtype other than numbers, bool and strings."""
    try:
        array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except TypeError:
        array = None
    if array is None or array.dtype.kind not in "biufSU":
        dtype = getattr(values if array is None else array, "dtype", type(values).__name__)
        raise ConfigError(
            f"samples or labels of {dtype} are not usable",
            "the images to train on",
            "convert images to uint8 or float32, labels to integers or strings",
        )
    return array


def _fingerprint(samples: Any, index: int) -> str:
    image, label = _read(samples, index, None)
    return f"{hashlib.sha256(image.tobytes()).hexdigest()} {image.shape} {np.asarray(label).tolist()}"


def _copied(samples: Any, size: int | None, progress: Progress | None) -> tuple[NDArray[Any], list[Any]]:
    """All images (N, C, H, W), through a temporary file so that they need no memory, and their labels."""
    labels, shape, n = [], None, len(samples)
    with tempfile.TemporaryFile(dir=cache_folder()) as file:
        for index in range(n):
            image, label = _read(samples, index, size)
            labels.append(label)
            if shape not in (None, (image.dtype, image.shape)):
                raise DataError(
                    f"sample {index} is {image.dtype} {image.shape}, the first one {shape[0]} {shape[1]}",
                    "all samples must have one shape",
                    "give dataset.size to crop and resize images, and convert them to one mode, such as RGB",
                )
            shape = (image.dtype, image.shape)
            file.write(image.data)
            if progress:
                progress(index + 1, n)
        file.flush()
        assert shape is not None
        return np.memmap(file, shape[0], "r", shape=(n, *shape[1])), labels


def _read(samples: Any, index: int, size: int | None) -> tuple[NDArray[Any], Any]:
    """The image of a sample as stored, and its label or None; DataError if it cannot be used."""
    try:
        sample = samples[index]
        if isinstance(sample, Mapping):
            image, label = pick(sample, IMAGE_KEYS), pick(sample, LABEL_KEYS)
        elif isinstance(sample, tuple | list):
            image, label = sample[0], sample[1] if len(sample) > 1 else None
        else:
            image, label = sample, None
        return _as_pixels(image, size), _as_array(label) if isinstance(label, Tensor) else label
    except GenlabError:
        raise
    except Exception as error:  # a foreign dataset may raise anything
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"sample {index} cannot be read ({reason})", type(error).__name__, "convert it") from None


def pick(mapping: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The value of the first of `names` that is a key, or None."""
    return next((mapping[name] for name in names if name in mapping), None)


def _as_pixels(image: Any, size: int | None) -> NDArray[Any]:
    """uint8 (C, H, W), of the side `size` unless None; of a point float32 (D, 1, 1). ValueError for anything else."""
    if isinstance(image, Image.Image):
        image = in_mode(image, 1 if image.mode[0] in "1LI" else 3)
    array = _as_array(image)
    if array.ndim == 1 and not np.isfinite(array).all():
        raise ValueError("a point is not finite")
    if array.ndim == 1:
        if size:
            raise ConfigError("points have no size", "key dataset.size", "leave it out")
        return array.astype(np.float32).reshape(-1, 1, 1)
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or (array.shape[0] in (1, 3)) == (array.shape[2] in (1, 3)):
        raise ValueError(f"shape {array.shape} is not (H, W), (H, W, C) or (C, H, W) with C 1 or 3")
    array = array if array.shape[0] in (1, 3) else array.transpose(2, 0, 1)
    return np.ascontiguousarray(resize_all(_as_bytes(array)[None], size)[0])


def _as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool or (array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1):
        return np.rint(array * np.float64(255)).astype(np.uint8)
    raise ValueError(f"{array.dtype} from {array.min():g} to {array.max():g} is neither uint8 nor floats in [0, 1]")


def _as_labels(labels: list[Any], names: Any) -> tuple[NDArray[Any] | None, list[str] | None]:
    """Labels and their names: classes int64 (N,) or attributes uint8 (N, A); None without labels."""
    if all(label is None for label in labels):
        return None, None
    try:
        array = np.array([np.asarray(label) for label in labels]).reshape(len(labels), -1)
    except ValueError as error:
        raise DataError(
            f"the labels are not alike ({error})", "the samples to train on", "give each sample one label, or none"
        ) from None
    if array.shape[1] > 1 and np.isin(array, (0, 1)).all():
        return array.astype(np.uint8), [f"attribute_{number}" for number in range(array.shape[1])]
    if array.shape[1] != 1 or array.dtype.kind not in "iubU":
        raise DataError(
            f"the labels are {array.dtype} {array.shape[1:]}",
            "wanted: integers or strings, or vectors of 0 and 1",
            "convert them, or leave them out",
        )
    values, classes = np.unique(array[:, 0], return_inverse=True)
    named = isinstance(names, Sequence) and array.dtype.kind in "iu" and values[0] >= 0 and values[-1] < len(names)
    if named:
        return array[:, 0].astype(np.int64), [str(name) for name in names]
    return classes.astype(np.int64), [str(value) for value in values]

"""Base class of data sets that are derived from another data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from genlab.core.data_spec import DataSpec
from genlab.data.adapt import build_dataset
from genlab.data.dataset import Dataset, StoredDataset
from genlab.data.loader import Data
from genlab.data.store.store import Progress, Store
from genlab.errors import ConfigError
from genlab.registry import DATASETS, Spec


@dataclass(kw_only=True)
class Derived(Dataset):
    """A data set derived from another one, `inner`."""

    not_a_base: ClassVar[str | None] = "holds pairs already"

    inner: StoredDataset = field(init=False, repr=False)

    def derive(self, key: str, spec: Spec | str, **keys: Any) -> None:
        """Build `inner` from `spec`, the value of `dataset.<key>`; `keys` that are set override its own.

        ConfigError if it cannot be a base, or has no such key.
        """
        section, overrides = f"dataset.{key}", {name: value for name, value in keys.items() if value}
        spec = DATASETS.check(spec, section)
        why_not = _why_not(DATASETS.get(spec["name"]))
        if why_not:
            others = ", ".join(name for name in DATASETS.names() if not _why_not(DATASETS.get(name)))
            raise ConfigError(f"data set '{spec['name']}' {why_not}", f"key {section}.name", f"choose one of: {others}")
        unknown = next((name for name in overrides if name not in DATASETS.schema(spec["name"]).model_fields), None)
        if unknown:
            off = "false" if overrides[unknown] is True else "null"
            raise ConfigError(
                f"data set '{spec['name']}' has no key {unknown}",
                f"key dataset.{unknown}",
                f"use dataset.{unknown}={off}",
            )
        self.inner = build_dataset({**spec, **overrides}, section, seed=self.seed)
        self.inner.split_seed = self.split_seed or self.inner.split_seed
        self.inner.key = lambda name: f"dataset.{name}" if name in overrides else f"{section}.{name}"
        self.inner.validate = self.validate_inner

    def validate_inner(self, inner: DataSpec) -> None:
        """GenlabError if this set, or a model, cannot use the base with this specification."""
        spec = self.spec(inner)
        if self.validate:
            self.validate(spec)

    def spec(self, inner: DataSpec) -> DataSpec:
        """The specification of this set; ConfigError if it cannot be made of the inner one."""
        raise NotImplementedError

    def check(self) -> None:
        self.inner.check()

    def prepare(self, progress: Progress | None = None, verify: bool = False) -> Store:
        return self.inner.prepare(progress, verify)


def _why_not(target: Any) -> str | None:
    """Why a registered data set cannot be a base; those of plug-ins need not say."""
    why: str | None = getattr(target, "not_a_base", None)
    return why


def split_indices(data: Data) -> dict[str, Tensor]:
    """The indices of each split, empty ones included."""
    empty = torch.empty(0, dtype=torch.int64)
    return {name: data.split(name).indices if n else empty for name, n in data.sizes().items()}

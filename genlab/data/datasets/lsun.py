"""LSUN (Yu, Seff, Zhang, Song, Funkhouser and Xiao, 2015): scenes by category, from its LMDB files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from genlab.data.dataset import Form, OnError, Source, StoredDataset, fixed
from genlab.data.splits import Held
from genlab.data.store import lmdb_file
from genlab.data.store.encoded import Chain
from genlab.data.store.lmdb_values import values
from genlab.errors import DataError
from genlab.registry import DATASETS, PositiveInt

Category = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]


@DATASETS("lsun")
@dataclass(kw_only=True)
class LSUN(StoredDataset):
    """Photographs of one category, center-cropped to their shorter side.

    The official validation images are the test split; the validation split is carved from train by `split_seed`.
    """

    name = "lsun"

    category: Category = "bedroom"
    size: PositiveInt = 64
    valid: Held = 0.05
    on_error: OnError = "error"
    test: int = fixed(0)
    num_labels: None = fixed(None)
    classes: None = fixed(None)

    def files(self) -> list[Path]:
        hint = "the fyu/lsun repository on GitHub has the downloader"
        names = [f"{self.category}_{part}_lmdb/data.mdb" for part in ("train", "val")]
        files = [self.find(f"LSUN's {name}", hint, f"lsun/{name}", name) for name in names]
        for file in files:
            lmdb_file.check(file.parent)
        if files[0].samefile(files[1]):
            raise DataError("LSUN's train and val are one file", str(files[0].resolve()), "download the other one")
        return files

    def read(self) -> Source:
        train, test = (values(file.parent) for file in self.files())
        return Source({"train": len(train), "test": len(test)}, Chain([train, test]), form=Form(self.size))

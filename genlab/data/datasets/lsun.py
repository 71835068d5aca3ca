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
from genlab.utils.paths import data_roots

Category = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]


@DATASETS("lsun")
@dataclass(kw_only=True)
class LSUN(StoredDataset):
    """Photographs of one category, center-cropped to their shorter side.

    The official validation images are the test split; the validation split is carved from train by seed.
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
        folders = [self._folder(part) for part in ("train", "val")]
        for folder in folders:
            lmdb_file.check(folder)
        return [folder / "data.mdb" for folder in folders]

    def _folder(self, part: str) -> Path:
        name = f"{self.category}_{part}_lmdb"
        roots = data_roots(self.root)
        for root in roots:
            for folder in (root / "lsun" / name, root / name):
                if (folder / "data.mdb").is_file():
                    return folder
        raise DataError(
            f"LSUN's {name} is missing",
            "the fyu/lsun repository on GitHub has the downloader",
            f"put its data.mdb at {roots[0] / 'lsun' / name / 'data.mdb'}",
        )

    def read(self) -> Source:
        train, test = (values(file.parent) for file in self.files())
        return Source({"train": len(train), "test": len(test)}, Chain([train, test]), form=Form(self.size))

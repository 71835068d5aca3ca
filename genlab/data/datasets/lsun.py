"""LSUN (Yu, Seff, Zhang, Song, Funkhouser and Xiao, 2015): scenes by category, from its LMDB files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import StringConstraints

from genlab.data.dataset import Dataset, Options
from genlab.data.splits import Held
from genlab.data.store import lmdb_file
from genlab.data.store.encoded import Chain
from genlab.data.store.image import Form
from genlab.data.store.lmdb_values import values
from genlab.data.store.store import Source
from genlab.errors import DataError
from genlab.registry import DATASETS, PositiveInt
from genlab.utils.paths import data_roots

Category = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]


@DATASETS("lsun")
class LSUN(Dataset):
    """Photographs of one category, centre-cropped to their shorter side.

    The official validation images are the test split; the validation split is carved from train by seed.
    """

    name = "lsun"

    def __init__(
        self,
        root: str | None = None,
        category: Category = "bedroom",
        size: PositiveInt = 64,
        valid: Held = 0.05,
        flip: bool = False,
        limit: PositiveInt | None = None,
        on_error: Literal["error", "skip"] = "error",
        seed: int = 0,
    ) -> None:
        self.category, self.on_error = category, on_error
        self.form = Form(size)
        facts = {"category": category, "on_error": on_error, **asdict(self.form)}
        super().__init__(Options(root, size, {"valid": valid}, flip, limit, seed, facts))

    def files(self) -> list[Path]:
        folders = [self._folder(part) for part in ("train", "val")]
        for folder in folders:
            lmdb_file.check(folder)
        return [folder / "data.mdb" for folder in folders]

    def _folder(self, part: str) -> Path:
        name = f"{self.category}_{part}_lmdb"
        roots = data_roots(self.options.root)
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
        return Source(
            {"train": len(train), "test": len(test)},
            Chain([train, test]),
            form=self.form,
            skip_unreadable=self.on_error == "skip",
            skip_key=self.key("on_error"),
        )

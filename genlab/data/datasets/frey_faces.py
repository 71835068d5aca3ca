"""Frey faces (Roweis): one man's face in a short film, the small set of the VAE and GPLVM papers."""

from __future__ import annotations

from pathlib import Path

from genlab.data.dataset import Dataset, Options
from genlab.data.datasets.frey_mat import frames
from genlab.data.splits import Held
from genlab.data.store import isolate
from genlab.data.store.image import resize_all
from genlab.data.store.store import Source
from genlab.errors import DataError
from genlab.registry import DATASETS, PositiveInt
from genlab.utils.paths import data_roots

FILE = "frey_rawface.mat"


@DATASETS("frey_faces")
class FreyFaces(Dataset):
    """1,965 grey frames of 28x20 pixels in the film's order.

    Neighbouring frames look alike, so a random split would leak: validation and test are the end of the film.
    """

    name = "frey_faces"
    contiguous = True

    def __init__(
        self,
        root: str | None = None,
        size: PositiveInt | None = None,
        valid: Held = 0.1,
        test: Held = 0.1,
        flip: bool = False,
        limit: PositiveInt | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(Options(root, size, {"valid": valid, "test": test}, flip, limit, seed))

    def files(self) -> list[Path]:
        roots = data_roots(self.options.root)
        for root in roots:
            for file in (root / "FreyFaces" / FILE, root / FILE):
                if file.is_file():
                    return [file]
        raise DataError(
            f"the Frey faces' {FILE} is missing",
            "Sam Roweis's data page has it",
            f"put it at {roots[0] / 'FreyFaces' / FILE}",
        )

    def read(self) -> Source:
        [file] = self.files()
        [images] = isolate.run([(frames, (file,))], str(file))
        return Source({"train": len(images)}, resize_all(images, self.options.size))

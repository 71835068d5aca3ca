"""Frey faces (Roweis): one man's face in a short film, the small set of the VAE and GPLVM papers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genlab.data.dataset import Source, StoredDataset, fixed
from genlab.data.datasets.frey_mat import frames
from genlab.data.store import isolate
from genlab.data.store.image import resize_all
from genlab.registry import DATASETS

FILE = "frey_rawface.mat"


@DATASETS("frey_faces")
@dataclass(kw_only=True)
class FreyFaces(StoredDataset):
    """1,965 gray frames of 28x20 pixels in the order of the film.

    Neighboring frames look alike, so a random split would leak: validation and test are the end of the film.
    """

    name = "frey_faces"
    contiguous = True

    num_labels: None = fixed(None)
    classes: None = fixed(None)

    def files(self) -> list[Path]:
        return [self.find(f"the Frey faces' {FILE}", "Sam Roweis's data page has it", f"FreyFaces/{FILE}", FILE)]

    def read(self) -> Source:
        [file] = self.files()
        [images] = isolate.run([(frames, (file,))], str(file))
        return Source({"train": len(images)}, resize_all(images, self.size))

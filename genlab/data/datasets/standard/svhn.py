"""Street View House Numbers, cropped digits: Netzer, Wang, Coates, Bissacco, Wu & Ng, NIPS workshop 2011."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from genlab.data.dataset import Source, StoredDataset, fixed
from genlab.data.datasets.standard.svhn_mat import digits
from genlab.data.splits import Held
from genlab.data.store import isolate
from genlab.data.store.image import resize_all
from genlab.registry import DATASETS


@DATASETS("svhn")
@dataclass(kw_only=True)
class SVHN(StoredDataset):
    """73,257 training and 26,032 test images of 32x32 color pixels; the label is the digit in the middle."""

    name = "svhn"
    mirrors: ClassVar = ("http://ufldl.stanford.edu/housenumbers/",)
    md5: ClassVar[dict[str, str]] = {
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    }

    valid: Held = 5000
    test: int = fixed(0)

    def files(self) -> list[Path]:
        return [self.find_or_fetch(name, "SVHN", self.mirrors, md5) for name, md5 in self.md5.items()]

    def read(self) -> Source:
        files = self.files()
        jobs = [(digits, (part, file)) for part, file in zip(("train", "test"), files, strict=True)]
        read = {part: (images, labels) for part, images, labels in isolate.run(jobs, str(files[0].parent))}
        images, labels = zip(*(read[part] for part in ("train", "test")), strict=True)
        return Source(
            {part: len(read[part][0]) for part in ("train", "test")},
            resize_all(np.concatenate(images), self.size),
            np.concatenate(labels),
            list("0123456789"),
        )

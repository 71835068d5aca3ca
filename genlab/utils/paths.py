"""Where data and caches lie."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`GENLAB_CACHE`, else the user's cache folder for genlab. It need not exist yet."""
    named = os.environ.get("GENLAB_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("genlab"))


def downloads() -> Path:
    """The folder for data sets that genlab downloads."""
    return cache_folder() / "data"


def data_roots(root: str | None) -> list[Path]:
    """The folders to search, in order; only `root` (`dataset.root`) if it is set."""
    if root:
        return [Path(root).expanduser().absolute()]
    named = os.environ.get("GENLAB_DATA")
    return [*([Path(named).expanduser().absolute()] if named else []), downloads()]

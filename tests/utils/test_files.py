"""A file that is written appears whole or not at all, and nothing else stays behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from genlab.utils import image_file
from genlab.utils.files import replacing


def write_half_of(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError


def test_a_file_is_replaced_when_the_block_ends_and_kept_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_half_of(path)
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"a.txt": "old"}
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"a.txt": "new"}


def test_a_link_in_the_temporary_files_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (tmp_path / f".tmp-a.txt.{os.getpid()}").symlink_to(victim)
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "a.txt").is_symlink()


@pytest.mark.parametrize("kind", image_file.ARRAYS)
def test_a_file_of_images_is_written_whole_or_not_at_all(tmp_path: Path, kind: str) -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    (tmp_path / "new").mkdir()
    image_file.write(tmp_path / f"new/s{kind}", images)
    assert [each.name for each in (tmp_path / "new").iterdir()] == [f"s{kind}"]
    with pytest.raises(NotADirectoryError):  # a file where a folder is to be
        image_file.write(tmp_path / f"new/s{kind}/s{kind}", images)

from __future__ import annotations

from pathlib import Path

import pytest

from genlab.errors import CheckpointError
from genlab.runs.metrics_file import records
from genlab.utils.own_folder import OwnFolder

GOOD = b'{"step": 3, "time": 1.5, "split": "train", "loss": 0.5, "bad": null}\n'


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\0\0", b"[1]", b"7", b"\xff", b"{}", b'{"step": 1, "time": 0}',
        b'{"step": true, "time": 0, "split": "train"}', b'{"step": 1.0, "time": 0, "split": "train"}',
        b'{"step": 1, "time": null, "split": "train"}', b'{"step": 1, "time": 0, "split": 5}',
        b'{"step": 1, "time": 0, "split": "train", "loss": "low"}',
        b'{"step": 1, "time": 0, "split": "train", "loss": true}',
        b'{"step": 1, "time": 0, "split": "train", "loss": {"a": 1}}',
        b'{"step": 1, "time": 0, "split": "train", "loss": NaN}',
        b'{"step": 1, "time": 0, "split": "train", "loss": 1e999}',
        b'{"step": 1, "time": 0, "split": "train", "loss": 1' + b"0" * 400 + b"}",
        b'{"step": 1, "time": 0, "split": "train", "loss": ' + b"[" * 100_000, b" " * 2**21,
    ],
    ids=range(19),
)  # fmt: skip
def test_a_line_that_is_not_a_record_is_skipped(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(GOOD + line + b"\n" + GOOD.rstrip())
    wanted = {"step": 3, "time": 1.5, "split": "train", "loss": 0.5, "bad": None}
    assert list(records(OwnFolder(tmp_path))) == [(GOOD, wanted)] * 2


def test_no_file_has_no_records_and_a_link_is_refused(tmp_path: Path) -> None:
    assert list(records(OwnFolder(tmp_path))) == []
    (tmp_path / "metrics.jsonl").symlink_to("/etc/hostname")
    with pytest.raises(CheckpointError, match="link"):
        list(records(OwnFolder(tmp_path)))

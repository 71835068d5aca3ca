from __future__ import annotations

import errno
import io
import json
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import pytest
import torch
from google.protobuf import text_format
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.util import tensor_util
from torch import Tensor

from genlab.core.values import Embedding, Image, Logger, Loggers
from genlab.loggers.images import Images
from genlab.loggers.jsonl import JsonLines
from genlab.loggers.tensorboard import Events, TensorBoard, flat
from genlab.reports.grid import image_grid
from genlab.utils.own_folder import OwnFolder


def read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return accumulator.Reload()


def both(folder: Path, resumed_at: int | None = None) -> Loggers:
    logger = Loggers([JsonLines(folder, resumed_at), TensorBoard(folder, resumed_at)])
    logger.start(resumed_at or 0, 100, "test")
    return logger


def scalars(accumulator: EventAccumulator) -> dict[tuple[str, int], float]:
    return {(tag, e.step): e.value for tag in accumulator.Tags()["scalars"] for e in accumulator.Scalars(tag)}


def lines(folder: Path) -> dict[tuple[str, int], float]:
    found = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        step, split = record.pop("step"), record.pop("split")
        del record["time"]
        found |= {(f"{split}/{name}", step): value for name, value in record.items()}
    return found


def test_every_scalar_is_in_both_even_after_a_resume(tmp_path: Path) -> None:
    first = both(tmp_path)
    for step in range(1, 8):
        first.scalars(step, "train", {"loss": step / 7, "discriminator/loss": -step})
    first.scalars(7, "valid", {"loss": 0.1})
    first.flush()  # and killed here: no close
    again = both(tmp_path, resumed_at=4)
    for step in range(5, 10):
        again.scalars(step, "train", {"loss": step / 9, "discriminator/loss": -2 * step})
    again.hparams({"seed": 1}, {"valid/loss": 0.3, "images_per_second": 5.0})
    again.close()
    wanted = lines(tmp_path)
    assert set(wanted) == {(f"train/{name}", s) for name in ("loss", "discriminator/loss") for s in range(1, 10)}
    assert scalars(read(tmp_path)) == pytest.approx(wanted, rel=1e-6)  # TensorBoard keeps float32


@pytest.mark.parametrize("reader", [event_accumulator, plugin_event_accumulator])
def test_a_clock_set_back_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: ModuleType) -> None:
    """Three days, and as many again: the readers take the files in order, and the new steps replace the old."""
    now = time.time()
    for part, resumed_at in enumerate((None, 4, 6)):
        monkeypatch.setattr(time, "time", lambda part=part: now - part * 3 * 86_400)
        logger = both(tmp_path, resumed_at)
        first = (resumed_at or 0) + 1
        for step in range(first, first + 6):
            logger.scalars(step, "train", {"loss": step + 100 * part})
        logger.close()
    accumulator = reader.EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    if reader is event_accumulator:
        found = [(event.step, event.value, event.wall_time) for event in accumulator.Scalars("train/loss")]
    else:  # the one of TensorBoard's own pages
        found = [(e.step, tensor_util.make_ndarray(e.tensor_proto).item(), e.wall_time)
                 for e in accumulator.Tensors("train/loss")]  # fmt: skip
    wanted = {("train/loss", step): value for step, value, _ in found}
    assert wanted == lines(tmp_path)
    assert list(wanted) == [("train/loss", step) for step in range(1, 13)]
    assert len(found) == 12
    times = [moment for *_, moment in found]
    assert times == sorted(times)


def test_hparams_are_in_the_run_itself(tmp_path: Path) -> None:
    logger = both(tmp_path)
    logger.scalars(3, "valid", {"elbo": -2.0})
    config = {"seed": 3, "model": {"name": "vae", "network": {"hidden": [8, 4]}, "decoder": None},
              "logger": {"jsonl": {"name": "jsonl"}}}  # fmt: skip
    logger.hparams(config, {"valid/elbo": -2.0, "images_per_second": 10.0})
    logger.close()
    assert not [entry for entry in tmp_path.iterdir() if entry.is_dir()]
    accumulator = read(tmp_path)
    content = accumulator.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    given = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert set(given) == {"seed", "model.name", "model.network.hidden"}
    assert given["seed"].number_value == 3
    assert given["model.name"].string_value == "vae"
    experiment = accumulator.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    columns = plugin_data_pb2.HParamsPluginData.FromString(experiment).experiment.metric_infos
    tags = [column.name.tag for column in columns]
    assert tags == ["valid/elbo"]
    assert set(tags) <= set(accumulator.Tags()["scalars"])  # every column has values to show


def test_flat_configuration() -> None:
    assert flat({"a": {"b": 1, "c": {"d": "x"}}, "e": [1, 2], "f": None, "g": True}) == {
        "a.b": 1, "a.c.d": "x", "e": "[1, 2]", "g": True}  # fmt: skip


def test_pictures_come_back_pixel_for_pixel(tmp_path: Path, images: Tensor) -> None:
    picture = image_grid(images.repeat(1, 3, 1, 1))
    logger = TensorBoard(tmp_path)
    logger.start(0, 1, "")
    logger.image(5, "samples", picture)
    logger.close()
    (event,) = read(tmp_path).Images("samples")
    image = PIL.Image.open(io.BytesIO(event.encoded_image_string))
    assert event.step == 5
    assert torch.equal(torch.tensor(np.asarray(image)).permute(2, 0, 1), picture.pixels)


def test_a_picture_is_encoded_once_for_all(tmp_path: Path, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = image_grid(images)
    logger = Loggers([TensorBoard(tmp_path), Images(tmp_path)])
    logger.start(0, 1, "")
    logger.image(5, "samples", picture)
    monkeypatch.setattr(PIL.Image.Image, "save", None)
    logger.image(6, "samples", picture)
    logger.close()
    file = (tmp_path / "images" / "samples-00000006.png").read_bytes()
    assert [event.encoded_image_string for event in read(tmp_path).Images("samples")] == [file, file]


def test_projector_lists_each_embedding_once(tmp_path: Path) -> None:
    logger = TensorBoard(tmp_path)
    logger.start(0, 1, "")
    codes = torch.arange(20.0).reshape(5, 4)
    thumbnails = torch.zeros(5, 1, 8, 6)
    thumbnails[4] = 1
    logger.embedding(1, "codes", Embedding(codes * 0, thumbnails, torch.zeros(5)))
    logger.embedding(2, "codes", Embedding(codes, thumbnails, torch.arange(5)))
    logger.embedding(2, "other", Embedding(codes, torch.rand(5, 3, 256, 128)))
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    entries = {entry.tensor_name: entry for entry in config.embeddings}
    assert sorted(entries) == ["codes", "other"]
    assert len(config.embeddings) == 2
    entry = entries["codes"]
    rows = [list(map(float, row.split("\t"))) for row in (tmp_path / entry.tensor_path).read_text().splitlines()]
    assert rows == codes.tolist()
    assert (tmp_path / entry.metadata_path).read_text().split() == list("01234")
    assert list(entry.sprite.single_image_dim) == [6, 8]  # width, then height
    sprite = PIL.Image.open(tmp_path / entry.sprite.image_path)
    assert sprite.size == (3 * 6, 3 * 8)  # the smallest square that holds five
    assert (sprite.getpixel((6, 8)), sprite.getpixel((0, 8))) == (255, 0)  # the fifth, and the fourth
    other = entries["other"]
    assert other.metadata_path == ""
    assert list(other.sprite.single_image_dim) == [32, 64]  # shrunk, its shape kept


def test_a_full_disk_stops_that_logger_alone_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = both(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Events, "add", full)
    for step in range(5):
        logger.scalars(step, "train", {"loss": 1.0})
    logger.close()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 5
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "TensorBoard" in said
    assert "No space left" in said


def test_tensorboard_that_cannot_even_start_does_not_stop_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = Loggers([JsonLines(tmp_path), TensorBoard(tmp_path), Logger()])

    def refuse(self: OwnFolder, name: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(OwnFolder, "append", refuse)
    logger.start(0, 1, "")
    logger.scalars(1, "train", {"loss": 1.0})
    logger.close()
    assert len(lines(tmp_path)) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_images_are_named_by_step_and_later_ones_go_on_resume(tmp_path: Path) -> None:
    picture = Image(torch.arange(2 * 3 * 3, dtype=torch.uint8).reshape(2, 3, 3)[:1])
    logger = Images(tmp_path)
    for step in (5, 10, 15):
        logger.image(step, "samples", picture)
    (tmp_path / "images" / "mine.png").write_bytes(b"")
    names = [f"samples-{step:08d}.png" for step in (5, 10, 15)]
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["mine.png", *names]
    assert np.asarray(PIL.Image.open(tmp_path / "images" / names[0])).ravel().tolist() == list(range(9))
    Images(tmp_path, resumed_at=10).start(10, 20, "")
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["mine.png", *names[:2]]


def test_texts_are_read_back(tmp_path: Path) -> None:
    logger = both(tmp_path)
    logger.text(3, "diagnosis/posterior", "the posterior has collapsed: model.beta=0.5")
    logger.close()
    (event,) = read(tmp_path).Tensors("diagnosis/posterior")
    assert (event.step, event.tensor_proto.string_val[0].decode()) == (3, "the posterior has collapsed: model.beta=0.5")

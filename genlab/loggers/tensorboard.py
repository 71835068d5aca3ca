"""TensorBoard: events, the projector's files and hparams, all in the run folder itself."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.core.values import Embedding, Image, Logger
from genlab.loggers.records import record
from genlab.registry import LOGGERS
from genlab.reports.grid import image_grid
from genlab.utils.files import write_all
from genlab.utils.own_folder import OwnFolder

THUMBNAIL, SHEET = 64, 8192  # pixels: a thumbnail's side, and the largest sheet of them that browsers take
PREFIX = "events.out.tfevents."
EVENT_FILE = re.compile(re.escape(PREFIX) + r"(\d{10}\.\d{6})\.")  # with the second in which it was begun
Scalar = bool | int | float | str
WATCHING = ("evaluator", "logger", "checkpoint", "dry_run")  # sections that are no hyperparameters


@LOGGERS("tensorboard")
class TensorBoard(Logger):
    """Scalars named `split/name`, images, embeddings and hparams of a run, as TensorBoard reads them.

    A run that resumes at step k tells TensorBoard to forget what an earlier process logged after k, also if the clock
    was set back meanwhile. `start` comes before everything else. Raises OSError in the very call that cannot write.
    """

    evaluations = True

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        self._folder = OwnFolder(folder)
        self._entries: dict[str, str] = {}  # of the projector's configuration, by name
        self._forget = 0 if resumed_at is None else resumed_at + 1
        self._events: Events | None = None

    def start(self, first_step: int, last_step: int, title: str) -> None:
        self._events = Events(self._folder, self._forget)

    def _add(self, summary: Any, step: int = 0) -> None:
        assert self._events is not None, "start() comes first"
        self._events.add(summary, step)

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=f"{split}/{name}", simple_value=value) for name, value in values.items()]
        self._add(Summary(value=points), step)

    def image(self, step: int, name: str, image: Image) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        channels, height, width = image.pixels.shape
        encoded = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=image.png)
        self._add(Summary(value=[Summary.Value(tag=name, image=encoded)]), step)

    def embedding(self, step: int, name: str, embedding: Embedding) -> None:
        """Write RUN/projector/NAME/, in place of an earlier one, and the projector's list of this process's own."""
        target = f"projector/{name.replace('/', '-')}"
        rows = ("\t".join(f"{number:.6g}" for number in code) for code in embedding.codes.tolist())
        self._folder.write(f"{target}/tensors.tsv", _lines(rows))
        if embedding.labels is not None:  # a file of one column has no header
            self._folder.write(f"{target}/metadata.tsv", _lines(map(str, embedding.labels.tolist())))
        thumbnails = _thumbnails(embedding.thumbnails)
        self._folder.write(f"{target}/sprite.png", _sprite(thumbnails).png)
        self._entries[target] = _entry(target, thumbnails, embedding.labels is not None)
        entries = "".join(entry for _, entry in sorted(self._entries.items()))
        self._folder.write("projector_config.pbtxt", entries.encode())

    def text(self, step: int, name: str, text: str) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        self._add(Summary(value=[Summary.Value(tag=name, metadata=metadata, tensor=tensor)]), step)

    def hparams(self, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Columns of the HPARAMS tab: what the weights depend on, and those metrics that are curves of this run."""
        chosen = {key: value for key, value in config.items() if key not in WATCHING}
        for summary in hparams_summaries(flat(chosen), [name for name in metrics if "/" in name]):
            self._add(summary)

    def close(self) -> None:
        if self._events:
            self._events.close()


class Events:
    """An event file, written in the calling thread.

    `SummaryWriter` writes in a thread of its own: a full disk prints a traceback there, and is raised in some
    later, unrelated call. Here the call that fails is the call that raises, and nothing waits in a buffer.
    """

    def __init__(self, folder: OwnFolder, first_step: int) -> None:
        """`first_step`: readers forget what earlier event files of this folder hold from this step on."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        self._event = Event
        began = time.time()
        # readers take files in the order of their names, and a clock may have been set back since the last one
        started = max(began, _last_written(folder.path) + 1e-3)
        self._ahead = started - began
        self._file = folder.append(f"{PREFIX}{started:017.6f}.{socket.gethostname()}.{os.getpid()}")
        self._write(file_version="brain.Event:2")
        self._write(step=first_step, session_log=SessionLog(status=SessionLog.START))

    def _write(self, **fields: Any) -> None:
        event = self._event(wall_time=time.time() + self._ahead, **fields)
        write_all(self._file.fileno(), record(event.SerializeToString()))

    def add(self, summary: Any, step: int) -> None:
        self._write(step=step, summary=summary)

    def close(self) -> None:
        self._file.close()


def _last_written(folder: Path) -> float:
    """When an earlier process wrote events in `folder` last, in seconds since 1970 by its own clock; 0 if none did."""
    latest = 0.0
    with os.scandir(folder) as entries:
        for entry in entries:
            if named := EVENT_FILE.match(entry.name):
                latest = max(latest, float(named[1]), entry.stat(follow_symlinks=False).st_mtime)
    return latest


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    """A nested configuration as dotted keys; lists become text, nulls are left out."""
    out: dict[str, Scalar] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            out[f"{prefix}{key}"] = value if isinstance(value, bool | int | float | str) else json.dumps(value)
    return out


def hparams_summaries(values: Mapping[str, Scalar], metrics: Iterable[str]) -> Iterator[Any]:
    """The HPARAMS tab as three `Summary` messages: its columns, this run's values, the end of the run.

    `metrics` are tags of scalars in the same file. torch's own function costs a tenth of a second to import.
    """
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData
    infos = [api_pb2.HParamInfo(name=name, type=_type(value)) for name, value in values.items()]
    columns = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    yield _hparams("experiment", data(experiment=api_pb2.Experiment(hparam_infos=infos, metric_infos=columns)))
    start = plugin_data_pb2.SessionStartInfo()
    for name, value in values.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    yield _hparams("session_start_info", data(session_start_info=start))
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS)
    yield _hparams("session_end_info", data(session_end_info=end))


def _type(value: Scalar) -> int:
    from tensorboard.plugins.hparams import api_pb2

    if isinstance(value, bool):
        return int(api_pb2.DATA_TYPE_BOOL)
    return int(api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64)


def _hparams(name: str, content: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content.SerializeToString())
    return Summary(value=[Summary.Value(tag=f"_hparams_/{name}", metadata=SummaryMetadata(plugin_data=plugin))])


def _lines(rows: Iterable[str]) -> bytes:
    return ("\n".join(rows) + "\n").encode()


def _thumbnails(images: Tensor) -> Tensor:
    """Images small enough for all of them to fit on one sheet."""
    side = min(THUMBNAIL, SHEET // _side(len(images)))
    height, width = images.shape[2:]
    if max(height, width) <= side:
        return images
    scale = side / max(height, width)
    return F.interpolate(images.float(), size=(max(1, int(height * scale)), max(1, int(width * scale))), mode="area")


def _side(n: int) -> int:
    """Rows and columns of the smallest square that holds n."""
    return math.isqrt(n - 1) + 1


def _sprite(thumbnails: Tensor) -> Image:
    """All thumbnails side by side, as many rows as columns: the projector divides the sheet so."""
    side = _side(len(thumbnails))
    blank = thumbnails.new_ones(side * side - len(thumbnails), *thumbnails.shape[1:])
    return image_grid(torch.cat([thumbnails, blank]), columns=side, gap=0, side=1)


def _entry(target: str, thumbnails: Tensor, labeled: bool) -> str:
    """One `embeddings` message of the projector's configuration, as protocol-buffer text."""
    lines = [
        f"  tensor_name: {json.dumps(target.removeprefix('projector/'))}",
        f"  tensor_path: {json.dumps(f'{target}/tensors.tsv')}",
    ]
    if labeled:
        lines.append(f"  metadata_path: {json.dumps(f'{target}/metadata.tsv')}")
    height, width = thumbnails.shape[2:]
    lines += [
        "  sprite {",
        f"    image_path: {json.dumps(f'{target}/sprite.png')}",
        f"    single_image_dim: {width}",
        f"    single_image_dim: {height}",
        "  }",
    ]
    return "\n".join(["embeddings {", *lines, "}\n"])

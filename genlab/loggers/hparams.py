"""The HPARAMS tab of TensorBoard: what the plug-in reads of a run, as three summaries.

torch has a function for it, whose module costs a tenth of a second to import, and so does the plug-in's `metadata`,
where these names come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

PLUGIN, VERSION = "hparams", 0
EXPERIMENT, START, END = (f"_hparams_/{name}" for name in ("experiment", "session_start_info", "session_end_info"))
Value = bool | int | float | str


def summaries(values: Mapping[str, Value], metrics: Iterable[str]) -> Iterator[Any]:
    """`Summary` messages: the columns (`metrics` are tags of scalars in the same file), this run's values, its end."""
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData
    infos = [api_pb2.HParamInfo(name=name, type=_type(value)) for name, value in values.items()]
    columns = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    yield _summary(EXPERIMENT, data(experiment=api_pb2.Experiment(hparam_infos=infos, metric_infos=columns)))
    start = plugin_data_pb2.SessionStartInfo()
    for name, value in values.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    yield _summary(START, data(session_start_info=start))
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS)
    yield _summary(END, data(session_end_info=end))


def _type(value: Value) -> int:
    from tensorboard.plugins.hparams import api_pb2

    if isinstance(value, bool):
        return int(api_pb2.DATA_TYPE_BOOL)
    return int(api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64)


def _summary(tag: str, content: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

    content.version = VERSION
    plugin = SummaryMetadata.PluginData(plugin_name=PLUGIN, content=content.SerializeToString())
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])

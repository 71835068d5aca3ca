"""A part of a model as an ONNX graph or a program of torch.export, run again and compared with the model."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.utils.signals import as_interrupt
from genlab.workflows.export.parts import Part

OPSET = 20
ALLOWED = 1e-5  # difference to the model, of the largest value if that is above 1
EXTRA = "pip install onnx onnxscript onnxruntime, or genlab[explore]"
Run = Callable[[dict[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Program:
    """The content of a file, its largest relative difference to the model, and whether batches may have any size."""

    content: bytes
    difference: float
    any_batch: bool


def program(part: Part, to: str) -> Program:
    """The part as `onnx` or `torch`, for any batch size if that can be exported, else for one example at a time.

    ConfigError if it cannot be exported, or if the result differs from the model.
    """
    make, reopened = FORMATS[to]

    def attempt(inputs: dict[str, Tensor], any_batch: bool) -> Program:
        with refused(f"key to={to}", "use another part or format"):
            return _compared(part, make(part, inputs, any_batch), reopened, any_batch)

    with missing_extra(f"key to={to}"), torch.no_grad():
        try:
            made = attempt(part.inputs, True)
        except ConfigError:
            made = attempt(part.examples(slice(1)), False)
    if not made.difference <= ALLOWED:  # nor NaN
        raise ConfigError(f"the exported model differs from the original by {made.difference:.1e}", f"key to={to}",
                          f"it must be below {ALLOWED:.0e}: use another format")  # fmt: skip
    return made


def _compared(part: Part, content: bytes, reopened: Callable[[bytes, Part], Run], any_batch: bool) -> Program:
    """The program, run on the examples: together if it takes any batch, and otherwise one by one."""
    run = reopened(content, part)
    wanted = part(**part.inputs)
    if any_batch:
        found = run(part.inputs)
        if len(run(part.examples(slice(2)))) != 2:
            raise ConfigError("the program takes one batch size only", "genlab export")
    else:
        found = torch.cat([run(part.examples(slice(i, i + 1))) for i in range(len(wanted))])
    difference = (found - wanted).abs().max() / wanted.abs().max().clamp(min=1)
    return Program(content, float(difference), any_batch)


def _dynamic(inputs: dict[str, Tensor], any_batch: bool) -> Any:
    return {name: {0: torch.export.Dim.DYNAMIC} for name in inputs} if any_batch else None


def _to_torch(part: Part, inputs: dict[str, Tensor], any_batch: bool) -> bytes:
    exported = torch.export.export(part, (), inputs, dynamic_shapes=_dynamic(inputs, any_batch))
    buffer = io.BytesIO()
    torch.export.save(exported, buffer)
    return buffer.getvalue()


def _torch_again(content: bytes, part: Part) -> Run:
    module = torch.export.load(io.BytesIO(content)).module()  # our own bytes, a moment old
    return lambda inputs: module(**inputs)


def _to_onnx(part: Part, inputs: dict[str, Tensor], any_batch: bool) -> bytes:
    return onnx_graph(part, inputs, part.output, _dynamic(inputs, any_batch))


def onnx_graph(module: nn.Module, inputs: dict[str, Tensor], output: str, dynamic: Any = None) -> bytes:
    """The ONNX graph of a module for inputs of these shapes. Raises whatever torch raises, and ImportError."""
    import onnxscript  # noqa: F401  # what torch needs, named here if it is missing

    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        exported = torch.onnx.export(
            module, kwargs=inputs, input_names=[*inputs], output_names=[output], opset_version=OPSET, dynamo=True,
            dynamic_shapes=dynamic, verbose=False,
        )  # fmt: skip
    assert exported is not None
    content: bytes = exported.model_proto.SerializeToString()
    return content


def onnx_session(content: bytes) -> Any:
    """A session of onnxruntime on the CPU, which says nothing about itself."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _onnx_again(content: bytes, part: Part) -> Run:
    graph = onnx_session(content)

    def run(inputs: dict[str, Tensor]) -> Tensor:
        arrays = {name: value.numpy() for name, value in inputs.items()}
        return torch.from_numpy(graph.run([part.output], arrays)[0])

    return run


@contextlib.contextmanager
def refused(where: str, hint: str) -> Iterator[None]:
    """ConfigError for what torch cannot export; its exporters' warnings about themselves are not shown."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ImportError, ConfigError):
        raise
    except Exception as error:  # torch raises many kinds
        if interrupted := as_interrupt(None):  # which torch has wrapped
            raise interrupted from None
        what = f"torch cannot export this part ({' '.join(str(error.__cause__ or error).split())[:150]})"
        raise ConfigError(what, where, hint) from None
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def missing_extra(where: str) -> Iterator[None]:
    """ConfigError for a package that is not installed."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(f"this export needs the package {error.name}", where, EXTRA) from None


FORMATS: dict[str, tuple[Callable[[Part, dict[str, Tensor], bool], bytes], Callable[[bytes, Part], Run]]] = {
    "onnx": (_to_onnx, _onnx_again),
    "torch": (_to_torch, _torch_again),
}

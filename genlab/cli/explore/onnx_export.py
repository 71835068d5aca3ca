"""What a page runs, as an ONNX graph compared with the model: a decoder or a flow's velocity; and onnxruntime-web."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from genlab.errors import ConfigError, DataError
from genlab.utils.files import read_bounded
from genlab.utils.paths import user_path

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genlab.cli.explore.session import Session

SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
MOST = 2**27  # bytes of one of these files
INSTALL = "npm pack onnxruntime-web && tar xzf onnxruntime-web-*.tgz, then runtime=package"
ALLOWED = 2 / 255  # difference between an image of the graph and one of the model
CHECKED = 16  # codes that are compared
CHECKED_PATHS, CHECKED_STEPS = 4, 20  # of a flow


@dataclass(frozen=True)
class Runtime:
    """The files of onnxruntime-web."""

    script: bytes
    wasm: bytes


@dataclass(frozen=True)
class Graph:
    """An ONNX model, and the largest difference between its images and the model's."""

    content: bytes
    difference: float
    described: dict[str, Any] = field(default_factory=dict)  # entries of the page's description that it replaces


def read_runtime(folder: str | None) -> Runtime:
    """onnxruntime-web from its unpacked npm package, or its folder dist. ConfigError without one."""
    if folder is None:
        raise ConfigError("a page without a server needs onnxruntime-web", "key runtime", INSTALL)
    root = user_path(folder, "key runtime")
    for place in (root, root / "dist"):
        try:
            return Runtime(*(read_bounded(place / name, MOST) for name in (SCRIPT, WASM)))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise DataError(f"onnxruntime-web cannot be read: {error}", f"key runtime={folder}", INSTALL) from None
    raise ConfigError(f"'{folder}' does not hold {SCRIPT} and {WASM}", "key runtime", INSTALL)


def export(session: Session) -> Graph:
    """The graph of `decode`, or of a flow's velocity. ConfigError if the model has neither, or it cannot be exported.

    The inputs of a decoder are `code` (1, D) and, of a model with styles, `truncation` (1,); its output is `image`
    (1, C, H, W): one code at a time, because some decoders (StyleGAN2's grouped convolutions) export for one batch size
    only. Those of a velocity are `x` (1, C, H, W), `time` (1,) and, of a model with classes, `label` (1,), whose last
    number stands for no class; its output is `velocity`.
    """
    model = session.loaded.model.cpu()
    make = _decoder_graph if session.described["codes"] else _velocity_graph if _solves(session) else None
    if make is None:
        what = f"model '{session.loaded.config['name']}' has no decoder that a page could run"
        raise ConfigError(what, "key out", "leave it out: the page is then served")
    from genlab.workflows.export.programs import missing_extra

    with missing_extra("key out"):
        graph = make(session, model)
    if graph.difference > ALLOWED:
        raise ConfigError(f"the exported model differs from the original by {255 * graph.difference:.1f}/255",
                          "key out", "leave it out: the page is then served")  # fmt: skip
    return graph


def _decoder_graph(session: Session, model: Any) -> Graph:
    import torch

    decoder = _decoder(model)
    codes = torch.cat([session.map.random, session.map.codes])[:CHECKED]
    more = {"truncation": torch.ones(1)} if decoder.truncates else {}
    content = _onnx(decoder, {"code": codes[:1], **more}, "image")
    found = [
        _difference(content, decoder, codes, truncation, session.decoded(codes, truncation))
        for truncation in ((1.0, 0.5) if decoder.truncates else (1.0,))
    ]
    return Graph(content, max(found))


def _solves(session: Session) -> bool:
    """Whether samples are images that a solver of the model's velocity finds."""
    from genlab.core.model import HasVelocity

    names = {each["name"] for each in session.described["sample"] or ()}
    return isinstance(session.model, HasVelocity) and {"solver", "steps"} <= names and session.shape[1:] != (1, 1)


def _velocity_graph(session: Session, model: Any) -> Graph:
    import torch

    from genlab.core import rng
    from genlab.nn.diffusion.solvers import evenly, last, solve
    from genlab.workflows.export.programs import onnx_session

    classes = session.described["classes"]
    x, time, label = torch.zeros(1, *session.shape), torch.full((1,), 0.5), torch.zeros(1, dtype=torch.int64)
    content = _onnx(_velocity(model), {"x": x, "time": time, **({"label": label} if classes else {})}, "velocity")
    graph = onnx_session(content)

    def velocity(x: Tensor, t: float) -> Tensor:
        found = []
        for i, state in enumerate(x):  # classes in turn, as in `sample`
            number = {"label": label.numpy() + i % len(classes)} if classes else {}
            found += graph.run(["velocity"], {"x": state[None].numpy(), "time": (0 * time + t).numpy(), **number})
        return torch.cat([torch.from_numpy(each) for each in found])

    rng.seed(session.seed)
    noise, *_, wanted = model.path(CHECKED_PATHS, steps=CHECKED_STEPS, solver="heun")
    made = last(solve(velocity, noise, evenly(0, 1, CHECKED_STEPS), "heun"))
    difference = float((model.to_image(made) - model.to_image(wanted)).abs().max())
    shown = [each for each in session.described["sample"] if each["name"] != "guidance" or model.label_dropout]
    return Graph(content, difference, {"sample": shown, "path": shown})


def _velocity(model: Any) -> Any:
    from torch import nn

    class Velocity(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
            found: Tensor = self.model.guided(x, time, label)
            return found

    return Velocity().eval()


def _decoder(model: Any) -> Any:
    from torch import nn

    from genlab.core.model import MixesStyles

    class Decoder(nn.Module):
        truncates = isinstance(model, MixesStyles)

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, code: Tensor, truncation: Tensor | None = None) -> Tensor:
            if truncation is None:
                image: Tensor = self.model.decode(code)
            else:
                image = self.model.render(self.model.styles(code, truncation))
            return image

    return Decoder().eval()


def _onnx(module: nn.Module, inputs: dict[str, Tensor], output: str) -> bytes:
    """The graph for inputs of these shapes; ConfigError if torch cannot export it."""
    from genlab.workflows.export.programs import onnx_graph, refused

    with refused("key out", "leave it out: the page is then served"):
        return onnx_graph(module, inputs, output)


def _difference(content: bytes, decoder: Any, codes: Tensor, truncation: float, wanted: Tensor) -> float:
    import numpy as np

    from genlab.workflows.export.programs import onnx_session

    graph = onnx_session(content)
    more = {"truncation": np.array([truncation], dtype=np.float32)} if decoder.truncates else {}
    found = [graph.run(["image"], {"code": code[None].numpy(), **more})[0] for code in codes]
    return float(np.abs(np.concatenate(found) - wanted.numpy()).max())

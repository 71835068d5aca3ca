"""Parts of models as ONNX graphs and programs of torch.export: they compute what the model computes."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.workflows.export import programs
from genlab.workflows.export.parts import part_of
from tests.support.untrained import loaded_run


def needs(to: str) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime") if to == "onnx" else ():
        pytest.importorskip(package)


@pytest.mark.parametrize("to", ["onnx", "torch"])
@pytest.mark.parametrize(
    ("preset", "name", "inputs"),
    [
        ("vae", "decoder", ["code"]),
        ("cvae", "encoder", ["image", "label"]),
        ("vqvae", "reconstructor", ["image"]),
        ("projection_gan", "discriminator", ["image", "label"]),
    ],
)
def test_a_part_gives_what_the_model_gives(to: str, preset: str, name: str, inputs: list[str]) -> None:
    needs(to)
    rng.seed(0)
    found, part = part_of(loaded_run(preset), name, {})
    assert found == name
    assert list(part.inputs) == inputs
    made = programs.program(part, to)
    assert made.difference <= programs.ALLOWED
    run = programs.FORMATS[to][1](made.content, part)
    changed = {key: value.flip(0) for key, value in part.examples(slice(2)).items()}
    if made.any_batch:
        torch.testing.assert_close(run(changed), part(**changed), rtol=1e-5, atol=1e-5)


def test_styles_are_truncated_by_an_input_of_the_graph() -> None:
    needs("torch")
    loaded = loaded_run("stylegan2")
    model: Any = loaded.model
    _, part = part_of(loaded, "decoder", {})
    code = part.inputs["code"]
    wanted = torch.cat([model.render(model.styles(c[None], psi)) for c, psi in zip(code, (1.0, 0.7, 0.5), strict=True)])
    torch.testing.assert_close(part(**part.inputs), wanted, rtol=1e-5, atol=1e-5)


def test_a_sampler_takes_the_path_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_run("flow_matching")
    model: Any = loaded.model
    for parameter in model.parameters():  # the last convolution is zero at first
        parameter.add_(0.02)
    _, part = part_of(loaded, None, {"steps": 3, "solver": "heun"})
    noise = part.inputs["noise"]
    monkeypatch.setattr(model, "normal", lambda n, *shape: noise)
    *_, last = model.path(3, steps=3, solver="heun")
    torch.testing.assert_close(part(noise), model.to_image(last))


def test_a_program_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, part = part_of(loaded_run("vae"), "decoder", {})
    to_torch, again = programs.FORMATS["torch"]
    monkeypatch.setitem(
        programs.FORMATS, "torch", (to_torch, lambda content, part: lambda x: 1.1 * again(content, part)(x))
    )
    with pytest.raises(ConfigError, match="differs from the original"):
        programs.program(part, "torch")


def test_a_part_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has no decoder.*it has translator"):
        part_of(loaded_run("cyclegan"), "decoder", {})
    with pytest.raises(ConfigError, match="a decoder has no options"):
        part_of(loaded_run("vae"), None, {"steps": 3})


def test_a_program_of_torch_runs_without_genlab() -> None:
    _, part = part_of(loaded_run("vae"), "decoder", {})
    made = programs.program(part, "torch")
    module = torch.export.load(io.BytesIO(made.content)).module()
    torch.testing.assert_close(module(**part.inputs), part(**part.inputs))

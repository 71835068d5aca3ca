"""The page as one file: the exported decoder gives the model's images, and what is missing is said in one line."""

from __future__ import annotations

import gzip
from base64 import b64decode
from pathlib import Path

import pytest
import torch

from genlab.cli import main
from genlab.cli.explore import onnx_export, page
from genlab.cli.explore.session import Session
from genlab.errors import ConfigError
from genlab.workflows.export.programs import onnx_session
from tests.support.commands import Refused
from tests.support.untrained import flow, loaded_run


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A folder like the npm package's, whose files do nothing."""
    folder = tmp_path / "package"
    (folder / "dist").mkdir(parents=True)
    (folder / "dist" / onnx_export.SCRIPT).write_text("export {};")
    (folder / "dist" / onnx_export.WASM).write_bytes(b"\0asm")
    return folder


def test_the_exported_decoder_gives_the_images_of_the_model() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    session = Session(loaded_run("vae"), n=20)
    graph = onnx_export.export(session)
    assert graph.difference <= 1 / 255
    # a graph of another model is found out
    other = Session(loaded_run("vae"), n=20)
    with torch.no_grad():
        for weight in other.model.parameters():
            weight.add_(0.5)
    decoder = onnx_export._decoder(session.model)
    codes = session.map.codes[:3]
    assert onnx_export._difference(graph.content, decoder, codes, 1.0, other.decoded(codes)) > onnx_export.ALLOWED


@pytest.mark.parametrize("conditional", [False, True])
def test_the_exported_velocity_of_a_flow_leads_to_the_samples_of_the_model(conditional: bool) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    session = Session(flow(conditional=conditional))
    graph = onnx_export.export(session)
    assert graph.difference <= 1 / 255
    run = onnx_session(graph.content)
    assert [each.name for each in run.get_inputs()] == ["x", "time", *(["label"] if conditional else [])]
    x, time = torch.randn(1, 1, 8, 8), torch.tensor([0.3])
    assert session.model.guided(x, time, None).std() > 0.01
    for label in (0, 7, 10) if conditional else (None,):  # 10: no class
        given = {} if label is None else {"label": torch.tensor([label]).numpy()}
        found = torch.from_numpy(run.run(["velocity"], {"x": x.numpy(), "time": time.numpy(), **given})[0])
        wanted = session.model.guided(x, time, torch.tensor([label]) if given and label != 10 else None)
        assert torch.allclose(found, wanted, atol=1e-4)
    names = [each["name"] for each in graph.described["sample"]]
    assert names == ["steps", "solver", *(["guidance", "label"] if conditional else [])]


def test_the_file_holds_everything_under_a_policy(runtime: Path) -> None:
    session = Session(loaded_run("vae"), n=20)
    graph = onnx_export.Graph(b"the graph", 0.0)
    text = page.single_file(session, graph, onnx_export.read_runtime(str(runtime))).decode()
    start = text.index('id="data-model">') + len('id="data-model">"')
    assert gzip.decompress(b64decode(text[start : text.index('"', start)])) == b"the graph"
    assert "default-src &#39;none&#39;; script-src &#39;sha256-" in text
    assert "src=" not in text.split("<script>")[0]  # nothing else is loaded
    assert str(session.loaded.path.absolute()) not in text
    for part in ("draw", "sample", "translate", "path"):
        assert f'<section id="{part}"' not in text
    assert '<section id="codes"' in text


def test_files_of_onnxruntime_web_are_found_in_the_package_or_its_dist(runtime: Path) -> None:
    assert onnx_export.read_runtime(str(runtime)) == onnx_export.read_runtime(str(runtime / "dist"))


def test_what_is_missing_is_said_before_torch_is_loaded(refused: Refused, tmp_path: Path) -> None:
    assert "npm pack onnxruntime-web" in refused("explore", "last", "out=page.html")
    assert "does not hold" in refused("explore", "last", "out=page.html", f"runtime={tmp_path}")
    assert "another suffix" in refused("explore", "last", "out=page.png")
    assert "port" in refused("explore", "last", "port=70000")
    assert "no last run" in refused("explore", "last")


def test_a_model_without_a_decoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="no decoder"):
        onnx_export.export(Session(loaded_run("pix2pix")))


def test_help_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["explore", "--help"]) == 0
    said = capsys.readouterr().out
    for key in ("port=", "open=", "n=", "split=", "seed=", "out=", "runtime="):
        assert f"  {key}" in said

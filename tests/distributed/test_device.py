"""Which device and precision are chosen; on Apple GPUs too, whose presence is pretended where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode  # tensors "on" a device that need not exist

import genlab
from genlab.distributed import runtime
from genlab.distributed.float64 import check_float64, float64_on_host
from genlab.distributed.runtime import Runtime, choose_device, choose_precision
from genlab.errors import ConfigError, ResourceError, resource_error
from tests.support.gloo import among

MPS = torch.device("mps")
on_apple = pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an Apple GPU, without CUDA."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with neither."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_auto_is_the_apple_gpu_where_there_is_no_cuda(apple: None) -> None:
    assert choose_device("auto") == choose_device("mps") == MPS
    assert choose_device("cpu").type == "cpu"


def test_auto_prefers_cuda(apple: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto") == torch.device("cuda:0")
    assert choose_device("mps") == MPS


def test_several_ranks_do_not_share_an_apple_gpu(apple: None) -> None:
    assert choose_device("auto", local_rank=1, world_size=2).type == "cpu"
    with pytest.raises(ConfigError, match=r"2 processes cannot share mps; --device; use --device cpu"):
        choose_device("mps", local_rank=1, world_size=2)


def test_a_missing_apple_gpu_is_refused_in_one_line(nothing: None) -> None:
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match=r"no Apple GPU that torch can use; --device; use --device auto"):
        genlab.train(["trainer.device=mps", "trainer.steps=1"])


def test_precision_on_an_apple_gpu(apple: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_precision("auto", MPS) == "fp32"
    assert choose_precision("bf16", MPS) == "bf16"
    assert choose_precision("fp16", MPS) == "fp16"
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: False)
    with pytest.raises(ConfigError, match="macOS 14"):
        choose_precision("bf16", MPS)


def test_an_apple_gpu_gets_no_call_that_only_cuda_has(apple: None, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: calls.append("mps"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: calls.append("cuda"))
    place = Runtime(MPS, "bf16")
    place.synchronize()
    assert calls == ["mps"]
    assert not place.asynchronous  # neither CUDA graphs nor its flag on the device
    assert not place.channels_last("auto", nn.Conv2d(1, 1, 3), batch_size=8)


def test_a_cpu_convolves_batches_with_channels_last_and_a_single_image_with_channels_first() -> None:
    cpu, convolution = Runtime(torch.device("cpu")), nn.Conv2d(1, 1, 3)
    assert cpu.channels_last("auto", convolution, batch_size=2)
    assert not cpu.channels_last("auto", convolution, batch_size=1)
    assert cpu.channels_last(True, convolution, batch_size=1)
    assert not cpu.channels_last("auto", nn.Linear(1, 1), batch_size=2)


def test_the_apple_gpu_is_seeded_with_the_others(apple: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.mps, "manual_seed", seeds.append)
    runtime.rng.seed(1, 2)
    assert seeds == [torch.initial_seed()]


def test_float64_is_computed_on_the_host_for_an_apple_gpu_only(tmp_path: Path) -> None:
    """In a process of its own: autograd starts a thread for each fake device, and later tests could not fork."""
    among(1, tmp_path / "fork", on_fake_devices)


def on_fake_devices(_: Runtime) -> None:
    with FakeTensorMode(), float64_on_host(MPS):
        x = torch.ones(3, device="mps")
        assert x.device.type == (x + 1).device.type == "mps"
        for wide in (x.double(), x.double().sum(), torch.zeros(3, dtype=torch.float64, device=x.device)):
            assert (wide.dtype, wide.device.type) == (torch.float64, "cpu")
        assert torch.zeros(3, device=x.device).device.type == "mps"
    with FakeTensorMode(), float64_on_host(torch.device("cuda")):
        assert torch.ones(3, device="cuda").double().device.type == "cuda"


def test_a_model_of_float64_sums_is_refused_on_an_apple_gpu() -> None:
    model = nn.BatchNorm1d(2)
    check_float64(model, MPS)
    model.register_buffer("total", torch.zeros(2, dtype=torch.float64))
    check_float64(model, torch.device("cpu"))
    with pytest.raises(ConfigError, match="float64"):
        check_float64(model, MPS)


def test_memory_that_an_apple_gpu_lacks_is_a_resource_error() -> None:
    assert isinstance(resource_error(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")), ResourceError)


def test_doctor_names_the_apple_gpu(
    apple: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from genlab.cli.machine import doctor

    monkeypatch.setattr(torch.backends.mps, "get_name", lambda: "Apple M3")
    monkeypatch.setattr(torch.backends.mps, "get_core_count", lambda: 10)
    rows = dict(doctor._devices())
    assert rows["auto picks"] == "mps with fp32"
    assert rows["mps"] == "Apple M3, 10 cores"


@on_apple
@pytest.mark.parametrize("model", ["vae", "dcgan", "vqvae", "rbm"])
def test_a_run_on_an_apple_gpu_trains_evaluates_and_resumes(model: str, tmp_path: Path) -> None:
    keys = [f"model={model}", "dataset=digits", "trainer.device=mps", f"hydra.run.dir={tmp_path / 'run'}"]
    genlab.train([*keys, "trainer.steps=4"])
    genlab.train([*keys, "trainer.steps=8"])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["step"], record["device"], record["status"]) == (8, "mps", "done")
    assert genlab.load(tmp_path / "run").sample(4).shape[0] == 4


@on_apple
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_run_in_half_precision_on_an_apple_gpu(precision: str) -> None:
    result = genlab.train(["trainer.device=mps", f"trainer.precision={precision}", "trainer.steps=4"])
    assert result.metrics

"""Bad command lines: each ends with exit code 2 and one line, and leaves no folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from genlab.cli import main
from tests.support.commands import Refused

GRAMMAR = [
    "", " ", "=", "=x", "==", "a=b=c", "seed", "model", "vae", "seed=1 2=3 ,", "seed='1", 'seed="1', "seed=[1",
    "seed=1]", "seed={a:1",
    "seed=}", "seed=(", "seed=)", "seed=f(", "seed=int(x)", "seed=int(", "seed=float('a')", "seed=choice(",
    "seed=range(", "seed=,",
    "seed=1,", "seed=,1", "é=3", "モデル=vae", "model=モデル", "model=vaé",
    "seed=\x00", "seed=1\n2", "seed=1\r", "se\ted=1",
    "seed=\x1b[31m",
    "seed=‮1", "🙂=🙂", "@=1", "@a=1", "model@=vae", "a.=1", ".a=1", "a..b=1", "model.=vae", "/=1", "a/=1", "++=1",
    "+=1", "~", "~~seed",
    "~seed=3", "--=3", "-rf=1", "seed:=1", "seed=" + "[" * 40 + "]" * 40, "seed=" + "9" * 5000, "x" * 10_000 + "=1",
    "seed=" + "x" * 10_000,
    "seed=\\", "seed=a\\", "seed='\\'", "$seed=1", "seed=$", "seed=${", "seed=${}", "seed=${seed", "#=1", "%=1",
    "seed!=1", "*=1", "?=1",
]  # fmt: skip
NAMES = {  # override -> what the line must hold
    "model=dcgna": "did you mean 'dcgan'?",
    "model=VAE": "did you mean 'vae'?",
    "model=vea": "did you mean 'vae'?",
    "model=null": "choose one of:",
    "model=": "unknown model",
    "model=../../etc/passwd": "unknown model",
    "model=/etc/passwd": "unknown model",
    "model=vae.yaml": "did you mean 'vae'?",
    "model=[vae]": "takes the name of an option",
    "model=[vae,dcgan]": "takes the name of an option",
    "model={name:vae}": "takes the name of an option",
    "model.name=dcgna": "unknown model 'dcgna'",
    "model.name=3": "unknown model '3'",
    "model.name=null": "unknown model 'None'",
    "dataset=minst": "did you mean 'mnist'?",
    "dataset=fashion-mnist": "did you mean 'fashion_mnist'?",
    "optimizer=adma": "did you mean 'adam'?",
    "optimizer.name=adm": "unknown optimizer",
    "schedule=cosin": "did you mean 'cosine'?",
    "trainer=fast": "unknown trainer",
    "evaluator=sample": "did you mean 'samples'?",
    "evaluator=[objective,sample]": "did you mean 'samples'?",
    "logger=tensorbord": "did you mean 'tensorboard'?",
    "recipe=nope": "unknown recipe",
    "experiment=quik": "did you mean 'quick'?",
    "debug=overfitt": "did you mean 'overfit'?",
    "modell=vae": "did you mean 'model'?",
    "datasets=mnist": "did you mean 'dataset'?",
    "sede=3": "did you mean 'seed'?",
    "lr=0.1": "did you mean 'optimizer.lr'?",
    "steps=3": "did you mean 'trainer.steps'?",
    "batch_size=3": "did you mean 'trainer.batch_size'?",
    "defaults=[]": "unknown key 'defaults'",
    "trainer.step=3": "did you mean 'trainer.steps'?",
    "trainer.batchsize=3": "did you mean 'trainer.batch_size'?",
    "optimizer.Lr=3": "did you mean 'optimizer.lr'?",
    "optimizer.learning_rate=3": "unknown key 'optimizer.learning_rate'",
    "model.latent=3": "did you mean 'model.latent_dim'?",
    "model.network.hiden=[3]": "has no such key; did you mean 'hidden'",
    "dataset.rot=x": "did you mean 'dataset.root'?",
    "checkpoint.evry=3": "did you mean 'checkpoint.every'?",
    "evaluator.sampels.n=3": "unknown key 'evaluator.sampels.n'",
    "evaluator.fid.images=3": "choose it too: evaluator=[...,fid]",
    "seed.x=3": "unknown key 'seed.x'",
    "model.name.x=3": "unknown key 'model.name.x'",
    "+foo=1": "unknown key 'foo'",
    "++foo=1": "unknown key 'foo'",
    "+foo.bar=1": "unknown key 'foo'",
    "+model.foo=1": "unknown key 'model.foo'",
    "++trainer.step=1": "did you mean 'steps'?",
    "+trainer.batch_size=3": "leave out the '+'",
    "+model.network.foo=1": "foo",
    "+optimizer.foo=1": "unknown key 'optimizer.foo'",
    "optimizer.phases.model.rl=1e-3": "rl",
    "optimizer.phases.model=3": "optimizer.phases.model",
    "+evaluator.mine.name=nope": "unknown evaluator 'nope'",
    "+evaluator.mine.n=3": "evaluator.mine",
    "+logger.x={name:nope}": "unknown logger 'nope'",
    "+model=vae": "cannot be composed",
    "+new/group=x": "unknown key 'new/group'",
    "~model": "cannot be removed",
    "~dataset": "cannot be removed",
    "~seed": "cannot be removed",
    "~optimizer.lr": "cannot be removed",
    "~model.latent_dim": "cannot be removed",
    "~trainer": "cannot be removed",
    "~evaluator": "cannot be removed",
    "~evaluator.nope": "evaluator.nope",
    "~nothing": "cannot be removed",
}
VALUES = {
    "seed=-1": "'seed'",
    "seed=1.5": "'seed'",
    "seed=one": "'seed'",
    "seed=null": "'seed'",
    "seed=true": "'seed'",
    "seed=[1]": "'seed'",
    "seed={}": "'seed'",
    "seed=99999999999999999999": "'seed'",
    "seed=???": "missing value for 'seed'",
    "dry_run=1": "'dry_run'",
    "dry_run=maybe": "'dry_run'",
    "trainer.steps=0": "'trainer.steps'",
    "trainer.steps=-3": "'trainer.steps'",
    "trainer.steps=abc": "'trainer.steps'",
    "trainer.steps=1.5": "'trainer.steps'",
    "trainer.steps={}": "'trainer.steps'",
    "trainer.steps=99999999999999999999": "'trainer.steps'",
    "trainer.epochs=-1": "'trainer.epochs'",
    "trainer.epochs=inf": "not finite",
    "trainer.batch_size=0": "'trainer.batch_size'",
    "trainer.batch_size=1e3": "'trainer.batch_size'",
    "trainer.batch_size='128'": "'trainer.batch_size'",
    "trainer.precision=fp8": "'trainer.precision'",
    "trainer.deterministic=3": "'trainer.deterministic'",
    "trainer.device=cpu": "write --device DEVICE",
    "device=cpu": "write --device DEVICE",
    "plugins=[mine]": "write --plugin MODULE",
    "trainer.devices=0": "'trainer.devices'",
    "trainer.ema_decay=1": "'trainer.ema_decay'",
    "trainer.grad_clip=-1": "'trainer.grad_clip'",
    "trainer.threads=0": "'trainer.threads'",
    "checkpoint.every=0": "'checkpoint.every'",
    "checkpoint.every=5x": "'checkpoint.every'",
    "checkpoint.every='5 %'": "'checkpoint.every'",
    "checkpoint.keep=1": "'checkpoint.keep'",
    "optimizer.lr=nan": "not finite",
    "optimizer.lr=inf": "not finite",
    "optimizer.lr=-inf": "not finite",
    "optimizer.lr=1e999": "not finite",
    "optimizer.lr=0": "'optimizer.lr'",
    "optimizer.lr=-1e-3": "'optimizer.lr'",
    "optimizer.lr=abc": "'optimizer.lr'",
    "optimizer.lr=null": "'optimizer.lr'",
    "optimizer.lr=[1e-3]": "'optimizer.lr'",
    "optimizer.lr=true": "'optimizer.lr'",
    "optimizer.betas=0.9": "'optimizer.betas'",
    "optimizer.betas=[0.9]": "'optimizer.betas'",
    "optimizer.betas=[0.9,1.5]": "'optimizer.betas'",
    "optimizer.betas=[nan,0.9]": "not finite",
    "optimizer.phases=3": "optimizer.phases",
    "optimizer=": "unknown optimizer",
    "schedule.warmup=2": "'schedule.warmup'",
    "model.latent_dim=0": "'model.latent_dim'",
    "model.latent_dim=-2": "'model.latent_dim'",
    "model.latent_dim=2.5": "'model.latent_dim'",
    "model.latent_dim=two": "'model.latent_dim'",
    "model.likelihood=poisson": "'model.likelihood'",
    "model.beta=-1": "'model.beta'",
    "model.network=lenet_body": "unknown network 'lenet_body'",
    "model.network={name: conv, hidden: [3]}": "unknown key 'model.network.hidden'",
    "model.network.hidden=[0]": "hidden",
    "model.network.name=nope": "nope",
    "dataset.size=0": "'dataset.size'",
    "dataset.limit=0": "'dataset.limit'",
    "dataset.flip=sometimes": "'dataset.flip'",
    "evaluator.samples.n=0": "'evaluator.samples.n'",
    "evaluator.samples.every=sometimes": "'evaluator.samples.every'",
    "evaluator.samples=3": "evaluator.samples",
    "logger.jsonl.name=null": "logger",
    "seed=${nowhere}": "bad interpolation",
    "optimizer.lr=${model}": "'optimizer.lr'",
    "seed=${seed}": "interpolation",
    "seed=1,2": "add -m",
    "model=vae,dcgan": "add -m",
    "seed=range(3)": "add -m",
    "seed=choice(1,2)": "add -m",
    "seed=interval(0,1)": "add -m",
    "model=glob(*)": "add -m",
}
OF_A_GAN = {
    "model.regularizers=[r1]": "holds values by name, not a list; .*; use model.regularizers.r1={}",
    "model.regularizers=r1": "use model.regularizers.r1={}",
    "model.regularizers=rr1": "unknown regularizer 'rr1'; key model.regularizers.rr1; did you mean 'r1'",
    "model.regularizers.r1=5": "'model.regularizers.r1' takes its numbers by name.*use model.regularizers.r1.weight=",
    "model.regularizers.pack=4": "use model.regularizers.pack.size=",
    "model.regularizers.r3=5": "unknown regularizer 'r3'",
    "model.regularizers.r1.weihgt=5": "unknown key 'model.regularizers.r1.weihgt'; .*; did you mean 'weight'",
    "~model.regularizers.r1": "unknown key 'model.regularizers.r1'",
    "model.augment=adaa": "unknown augmentation 'adaa'; key model.augment.name; did you mean 'ada'",
    "model.augment=[ada]": "'model.augment' names a registered augmentation, not .*ada",
    "model.discriminator.hiden=[8]": "unknown key 'model.discriminator.hiden'; .*; did you mean 'hidden'",
    "model.generator={name: mlp, hiden: [8]}": "unknown key 'model.generator.hiden'; .*; did you mean '.*hidden'",
}
COMMANDS_WITH_A_RUN = {
    ("trian",): "did you mean 'train'?",
    ("smaple", "last"): "did you mean 'sample'?",
    ("",): "unknown command",
    ("model=vae",): "unknown command",
    ("é",): "unknown command",
    ("../x",): "unknown command",
    ("-x",): "unknown command",
    ("train", "--foo"): "unknown argument '--foo'",
    ("train", "--dataset", "mnist"): "write dataset=mnist, without dashes",
    ("train", "--dry-run", "model=vae"): "write dry_run=VALUE, without dashes",
    ("train", "-n", "4"): "write key=value without dashes, e.g. trainer.steps=1000",
    ("sample", "last", "-n", "4"): "write n=4, without dashes",
    ("sample", "last", "-n4"): "write n=4, without dashes",
    ("eval", "last", "--split=test"): "write split=test, without dashes",
    ("train", "--mutlirun"): "did you mean '--multirun'?",
    ("train", "-rf"): "unknown argument",
    ("train", "--device", "gpu"): "unknown device 'gpu'; --device; choose one of",
    ("sample", "last", "device=cpu"): "write --device DEVICE",
    ("train", "--plugin", "no_such_module_of_ours"): "there is no plug-in",
    ("train", "--plugin", "../x"): "there is no plug-in",
    ("train", "--cfg"): "--cfg",
    ("train", "--cfg", "hydra"): "--cfg",
    ("train", "--config-dir"): "--config-dir",
    ("train", "--config-dir", "nowhere"): "no configuration folder",
    ("train", "--jobs", "x"): "--jobs",
    ("train", "-m", "--jobs", "0"): "--jobs",
    ("train", "-m", "seed=1,-1"): "'seed'",
    ("train", "-m", "seed=interval(0,1)"): "no list of values",
    ("train", "-m", "model=vae,vea"): "did you mean 'vae'?",
    ("train", "-m", "model=glob(zzz*)"): "no values",
    ("train", "-m", "hydra.run.dir=x", "seed=1,2"): "hydra.sweep.dir",
    ("list", "modls"): "did you mean 'models'?",
    ("list", "--config-dir", "nowhere"): "no configuration folder",
    ("info",): "GROUP=NAME",
    ("info", "model"): "write GROUP=NAME",
    ("info", "modle=vae"): "did you mean 'model'?",
    ("info", "model=vea"): "did you mean 'vae'?",
    ("prepare", "dataset=minst"): "did you mean 'mnist'?",
    ("completion", "tcsh"): "tcsh",
    ("completion",): "shell",
    ("runs", "nowhere"): "no folder",
    ("sample",): "RUN",
    ("sample", "nowhere"): "is not a run",
    ("sample", "last"): "no last run",
    ("sample", "last", "n"): "key=value",
    ("sample", "last", "n=0"): "'n'",
    ("sample", "last", "n=many"): "'n'",
    ("reconstruct", "last", "m=3"): "unknown key 'm'",
    ("reconstruct", "last", "split=tset"): "'split'",
    ("denoise", "last", "sigma=-1"): "'sigma'",
    ("inpaint", "last", "box=2"): "'box'",
    ("interpolate", "last", "mode=curve"): "'mode'",
    ("interpolate", "last", "steps=1"): "'steps'",
    ("eval", "last", "split=all"): "'split'",
    ("eval", "nowhere"): "is not a run",
    ("resume", "nowhere"): "is not a run",
    ("resume", "a\0b"): "is not a run",
}


@pytest.mark.parametrize("key", ["hydra.run.dir", "dataset.root"])
def test_the_home_of_nobody(key: str, refused: Refused) -> None:
    assert "no such home folder" in refused("train", f"{key}=~nosuchuser/x")


def test_a_data_folder_that_is_none(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (os.devnull, tmp_path / "file"):
        assert f"'{root}' is not a folder; key dataset.root" in refused(
            "train", "dataset=mnist", f"dataset.root={root}"
        )


@pytest.mark.parametrize("override", GRAMMAR, ids=lambda text: repr(text[:20]))
def test_grammar(override: str, refused: Refused) -> None:
    refused("train", override)


@pytest.mark.parametrize("override", NAMES)
def test_names(override: str, refused: Refused) -> None:
    assert NAMES[override] in refused("train", override)


@pytest.mark.parametrize("override", VALUES)
def test_values(override: str, refused: Refused) -> None:
    assert VALUES[override] in refused("train", override)


@pytest.mark.parametrize("override", OF_A_GAN)
def test_what_holds_values_by_name_says_how_one_is_given(override: str, refused: Refused) -> None:
    assert re.search(OF_A_GAN[override], refused("train", "model=gan", override))


@pytest.mark.parametrize("arguments", COMMANDS_WITH_A_RUN, ids=" ".join)
def test_commands(arguments: tuple[str, ...], refused: Refused) -> None:
    assert COMMANDS_WITH_A_RUN[arguments] in refused(*arguments)


def test_a_message_repeats_little_of_a_long_argument(refused: Refused) -> None:
    assert "v" * 100 not in refused("train", "model=" + "v" * 3000)  # the names that there are may be many


def test_a_phase_that_the_model_lacks(refused: Refused, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["prepare"]) == 0
    capsys.readouterr()
    assert "the model has no phase 'nobody'" in refused("train", "optimizer.phases.nobody.lr=1e-3")


def test_too_many_overrides(refused: Refused) -> None:
    assert "at most 500" in refused("train", *["seed=1"] * 501)

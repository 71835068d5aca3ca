"""Random override text: composing gives a configuration or a ConfigError of one line, never anything else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genlab.config import compose
from genlab.errors import ConfigError

KEYS = ["seed", "model", "dataset", "model.latent_dim", "optimizer.lr", "trainer.steps", "evaluator",
    "evaluator.samples.n",
        "experiment", "plugins", "hydra.run.dir", "hydra.job.name", "nowhere", "model.", "optimizer.phases.x.lr",
        "é"]  # fmt: skip
VALUES = ["1", "vae", "digits", "null", "nan", "-inf", "1e999", "[1,2]", "{a:1}", "'x'", "a,b", "${seed}",
    "${oc.env:HOME}", "",
          "range(3)", "int(3)", "glob(*)", "???", "../x", "true", "{_target_:x}", "[[[]]]", "choice(a,b)", "\\",
          "0x10", "1_000"]  # fmt: skip
SYMBOLS = st.text(st.sampled_from("=,.:[]{}()'\"\\~+@/$ \t-_?!*#%aZ0é\0\n🙂"), max_size=12)
overrides = st.lists(
    st.one_of(
        st.builds("{}{}={}".format, st.sampled_from(["", "", "", "+", "++", "~"]), st.sampled_from(KEYS),
        st.sampled_from(VALUES)),
        st.builds("{}={}".format, st.sampled_from(KEYS), SYMBOLS),
        st.builds("{}{}".format, SYMBOLS, SYMBOLS),
        st.text(max_size=20),
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(overrides)
def test_compose_never_surprises(arguments: list[str]) -> None:
    before = sorted(Path.cwd().iterdir())
    message, settled = "", {}
    try:
        settled = compose.compose(arguments).config
    except ConfigError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 1500
    _plain(settled)
    json.dumps(settled, allow_nan=False)
    assert "${" not in str(settled)
    assert sorted(Path.cwd().iterdir()) == before


KEYS = ("steps", "grad_clip", "ema_decay")


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(st.lists(st.sampled_from([f"trainer.{key}={value}" for key in KEYS for value in VALUES])
                | st.text(max_size=15), max_size=3))  # fmt: skip
def test_changing_a_stored_configuration_never_surprises(arguments: list[str]) -> None:
    stored = {"seed": 0, "trainer": {"steps": 10, "grad_clip": None, "ema_decay": 0.5}, "model": {"name": "vae"}}
    message, changed = "", stored
    try:
        changed = compose.override_stored(stored, arguments)
    except ConfigError as error:
        message = str(error)
    assert "\n" not in message
    _plain(changed)
    assert changed["model"] == {"name": "vae"}
    assert stored["trainer"] == {"steps": 10, "grad_clip": None, "ema_decay": 0.5}


def _plain(value: Any) -> None:
    if isinstance(value, dict):
        assert all(isinstance(key, str) and not (key.startswith("_") and key.endswith("_")) for key in value)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _plain(item)
    else:
        assert value is None or isinstance(value, bool | int | float | str)
        assert not isinstance(value, float) or math.isfinite(value)

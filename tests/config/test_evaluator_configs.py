from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

from genlab.config.compose import search_path
from genlab.registry import EVALUATORS, LOGGERS, discover

discover()
CASES = [(registry, name) for registry in (EVALUATORS, LOGGERS) for name in registry.names()]


@pytest.mark.parametrize(("registry", "name"), CASES, ids=lambda value: getattr(value, "kind", value))
def test_yaml_has_exactly_the_constructors_parameters(registry, name: str) -> None:
    text = (Path(search_path()) / registry.kind / f"{name}.yaml").read_text()
    assert re.match(r"# \S", text)  # what `genlab list` shows
    ((key, spec),) = yaml.safe_load(text).items()
    parameters = set(inspect.signature(registry.get(name)).parameters) - set(registry.runtime)
    assert key == name
    assert set(spec) == {"name", *parameters}
    assert spec["name"] == name
    registry.check(spec)
    for line in text.splitlines():  # every key but the name and the group's own says what it means
        if re.match(r"  (?!name:)\w+:", line):
            assert "#" in line, line


@pytest.mark.parametrize("group", ["evaluator", "logger"])
def test_every_file_has_a_description_and_the_default_names_known_files(group: str) -> None:
    folder = Path(search_path()) / group
    for path in folder.glob("*.yaml"):
        assert re.match(r"# \S", path.read_text())
        for name in yaml.safe_load(path.read_text()).get("defaults", []):
            assert (folder / f"{name}.yaml").exists()


def test_a_bad_cadence_is_refused() -> None:
    from genlab.errors import ConfigError

    for every in (0, -1, "5 %", "often", 1.5, "-2ep"):
        with pytest.raises(ConfigError, match="every"):
            EVALUATORS.check({"name": "samples", "every": every})

"""A short form of the harness in the quick suite: the first trials of every class (all of them: make harness)."""

from __future__ import annotations

import pytest

from genlab.workflows.build import load_registry
from tests.harness.fault_class import fault_classes
from tests.harness.report import failures
from tests.harness.runner import run

CLASSES = {name: each for name, each in fault_classes().items() if each.short}


@pytest.mark.parametrize("name", CLASSES)
def test_no_promise_fails(name: str) -> None:
    load_registry()
    assert failures(run(CLASSES[name], range(CLASSES[name].short))) == []

"""What genlab uses of libraries without their promise to keep it: each upgrade that takes one away is named here.

A private interface is used where no public one does the same; the reason stands beside it. A scan of the source holds
the list complete: a new use must be listed, an interface that is no longer used must leave.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import genlab

ROOT = Path(genlab.__file__).parents[1]
# where it is found -> why no public interface does the same
INTERFACES = {
    "argparse:ArgumentParser()._option_string_actions": "completion offers a command's flags",
    "atexit:_clear": "a forked job does not run what the sweep registered",
    "atexit:_run_exitfuncs": "a forked job ends as an interpreter does",
    "hydra.core.override_parser.types:Override._convert_value": "each value of a sweep as Hydra would convert it",
    "multiprocessing.util:_exit_function": "a forked job ends its own child processes",
    "threading:_shutdown": "a forked job waits for its threads",
    "weakref:finalize._exitfunc": "a forked job runs its own finalizers",
    "weakref:finalize._registry": "and not those of the sweep",
    "json:__spec__._initializing": "a signal during `import torch` exits at once",
    "torch._dynamo.exc:TorchDynamoException": "a model that cannot be compiled runs without compiling",
    "torch._compile:_disable_dynamo": "optimizers without its wrapper `inner` do not import the compiler",
    "torch.optim.optimizer:_use_grad_for_differentiable": "the same, its wrapper `_use_grad`",
    "torch.nn.modules.batchnorm:_BatchNorm": "batch norms of any dimension, users' own included",
    "torch:empty(1)._version": "whether a buffer has changed since it was last read",
    "torch:nn.Linear(1, 1).state_dict()._metadata": "versions of a module's state, kept in checkpoints",
    "torch:optim.Adam([torch.empty(1)], fused=True)._step_supports_amp_scaling": "a fused optimizer skips a bad step",
    "torch:_foreach_add_": "one call for all parameters of a network",
    "torch:_foreach_copy_": "the same",
    "torch:_foreach_lerp_": "the same",
    "torch:_foreach_mul_": "the same",
    "torch:_foreach_norm": "the same",
    "torch:_foreach_sub": "the same",
    "torch:_foreach_sub_": "the same",
    "torch:_fused_adam_": "Adam without gathering its lists at every step",
    "torch:_fused_adamw_": "the same",
    "torchvision.models.inception:InceptionC._forward": "the pooling of TensorFlow's Inception",
}
# Documented nowhere, though their names are public: what TensorBoard's event files are made of.
MODULES = {
    "tensorboard.compat.proto.event_pb2": ("Event", "SessionLog"),
    "tensorboard.compat.proto.summary_pb2": ("Summary", "SummaryMetadata"),
    "tensorboard.compat.proto.tensor_pb2": ("TensorProto",),
    "tensorboard.compat.proto.types_pb2": ("DT_STRING",),
    "tensorboard.plugins.hparams.api_pb2": ("Experiment", "HParamInfo", "MetricInfo", "STATUS_SUCCESS"),
    "tensorboard.plugins.hparams.plugin_data_pb2": ("HParamsPluginData", "SessionEndInfo", "SessionStartInfo"),
}
# Named by eager.py as the layers of a function, not as attributes.
WRAPPERS = dict.fromkeys(
    ("torch._compile:_disable_dynamo", "torch.optim.optimizer:_use_grad_for_differentiable"), "genlab/core/eager.py"
)
PUBLIC = {"_exit", "_asdict"}  # os._exit and namedtuple._asdict are documented
TYPES = {"_Hash"}  # stands in annotations only


@functools.cache
def private_uses() -> list[tuple[str, str]]:
    """`file:line` and the private name of something that a library owns."""
    files = sorted([*(ROOT / "genlab").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
    nodes = [(path.relative_to(ROOT), node) for path in files for node in ast.walk(ast.parse(path.read_text()))]
    known = set().union(*map(private_parts, INTERFACES))
    own = {name for _, node in nodes for name in defined(node)} - known
    return [
        (f"{path}:{node.lineno}", name)
        for path, node in nodes
        for name in used(node)
        if re.match("_[a-zA-Z]", name) and name not in own | PUBLIC | TYPES
    ]


def defined(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
        yield node.attr


def used(node: Any) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("genlab"):
        yield from (*(node.module or "").split("."), *(alias.name for alias in node.names))
    elif isinstance(node, ast.Import):
        yield from (part for alias in node.names for part in alias.name.split("."))
    elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
        yield node.attr
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
        yield from (each.value for each in node.args[1:2] if isinstance(each, ast.Constant))


def private_parts(interface: str) -> set[str]:
    return set(re.findall(r"\b_[a-zA-Z]\w*", interface))


def test_every_private_interface_of_a_library_is_listed() -> None:
    known = set().union(*map(private_parts, INTERFACES))
    unlisted = [f"{place} uses {name}" for place, name in private_uses() if name not in known]
    assert not unlisted, f"use a public interface, or list it in INTERFACES with the reason: {'; '.join(unlisted)}"


@pytest.mark.parametrize("interface", INTERFACES)
def test_the_library_still_has_it(interface: str) -> None:
    """Names the interface and the files that need it when an upgrade has taken it away."""
    places = {place.partition(":")[0] for place, name in private_uses() if name in private_parts(interface)}
    assert places or interface in WRAPPERS, f"nobody uses {interface} any more: drop it from INTERFACES"
    module, _, expression = interface.partition(":")
    try:
        found = importlib.import_module(module)
        eval(f"found.{expression}", {"found": found, module: found})
    except (ImportError, AttributeError) as error:
        needed = ", ".join(sorted(places)) or WRAPPERS[interface]
        pytest.fail(f"{needed} needs {interface}, which is gone ({error}): {INTERFACES[interface]}")


@pytest.mark.parametrize("module", MODULES)
def test_tensorboard_still_has_the_messages_of_its_files(module: str) -> None:
    found = importlib.import_module(module)
    missing = [name for name in MODULES[module] if not hasattr(found, name)]
    assert not missing, f"genlab/loggers/ needs {', '.join(missing)} of {module}"


def test_wrappers_and_kernels_have_the_form_that_genlab_knows() -> None:
    """What a name alone does not show: the layers of an optimizer's methods, the keywords of a kernel."""
    import torch

    from genlab.core.eager import _unwrapped
    from genlab.engine.fused_adam import Adam

    methods = _unwrapped.__wrapped__(torch.optim.Adam)
    assert methods is not torch.optim.Adam, "genlab/core/eager.py: torch wraps an optimizer's methods in another way"
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    optimizer = Adam([weight], lr=0.1)
    for _ in range(2):
        optimizer.step()
    assert torch.isfinite(weight).all()


def test_a_block_of_inception_returns_its_branches_pooled_last() -> None:
    from torchvision.models.inception import InceptionC

    code: Any = inspect.getsource(InceptionC._forward)
    assert code.rstrip().endswith("return outputs"), "genlab/evaluation/extractors/inception.py: _forward has changed"
    assert "branch_pool]" in code, "genlab/evaluation/extractors/inception.py: the pooled branch is no longer the last"

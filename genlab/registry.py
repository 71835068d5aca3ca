"""Names to constructors.

A spec is a mapping `{"name": ..., **kwargs}`, or only the name if every other key has a default. The constructor's
signature is its schema: pydantic reads types, bounds (`Annotated[int, Gt(0)]`) and choices (`Literal[...]`), so each
key is checked in one place, before anything is built. Values known only at run time (an image's shape, a parameter
list) are declared when the registry is made, never appear in YAML, and are passed by the caller of `build`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    create_model,
)

from genlab.errors import ConfigError, nearest, plugin_modules

Spec = Mapping[str, Any]
SELF = "‹self›"  # stands for the key of a nested spec until its owner is known
T = TypeVar("T", bound=Callable[..., Any])

PositiveInt = Annotated[int, Gt(0), Lt(2**31)]
Count = Annotated[int, Gt(0), Le(10_000)]  # of images, rows or columns to look at
NonNegativeInt = Annotated[int, Ge(0), Lt(2**31)]
PositiveFloat = Annotated[float, Gt(0), Lt(1e30)]
NonNegativeFloat = Annotated[float, Ge(0), Lt(1e30)]
Fraction = Annotated[float, Ge(0), Le(1)]
OpenFraction = Annotated[float, Gt(0), Lt(1)]  # without 0 and 1
Truncation = Annotated[float, Ge(0), Le(2), Field(description="ψ; below 1: better and less varied, 0: the mean style")]
ClassLabel = Annotated[
    NonNegativeInt | Annotated[list[NonNegativeInt], MinLen(1)] | None,
    Field(description="a class, or a list of classes that take turns; null: every class in turn"),
]
AnomalyRule = Literal["auto", "reconstruction"]  # genlab/evaluation/anomaly.py
# A length of training: an integer counts optimizer steps; "2ep" epochs; "5%" a fraction of the whole run.
DURATION = r"^\d+(\.\d+)?(%|ep|epochs?)$"
Duration = PositiveInt | Annotated[str, StringConstraints(pattern=DURATION)]
# How often to evaluate; "auto" is the rule of trainer_config.cadence, None only at the end.
Cadence = Duration | Literal["auto"] | None


@functools.cache
def signature_schema(target: Callable[..., Any], exclude: tuple[str, ...] = ()) -> type[BaseModel]:
    """The pydantic model of a callable's keyword parameters, `exclude` left out; unknown keys are errors."""
    classes = reversed(target.__mro__) if inspect.isclass(target) and not is_dataclass(target) else ()
    functions = [vars(each)["__init__"] for each in classes if "__init__" in vars(each)] or [target]
    hints = {name: hint for each in functions for name, hint in get_type_hints(each, include_extras=True).items()}
    fields: dict[str, Any] = {}
    for name, p in keyword_parameters(target).items():
        if name not in exclude:
            fields[name] = (hints.get(name, Any), ... if p.default is p.empty else p.default)
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())
    with warnings.catch_warnings():  # a key named json or copy hides a method of the schema that nobody calls
        warnings.filterwarnings("ignore", "Field name .* shadows", UserWarning)
        return create_model(getattr(target, "__name__", "spec"), __config__=config, **fields)


def keyword_parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword parameters of a function or class, by name.

    `**options` in the constructor of a class stands for the parameters of its base class's constructor.
    """
    own = inspect.signature(target).parameters.values()
    classes = target.__mro__ if inspect.isclass(target) else ()
    bases = [each for each in classes if "__init__" in vars(each)][1:]
    inherited = keyword_parameters(bases[0]) if bases and any(p.kind is p.VAR_KEYWORD for p in own) else {}
    return inherited | {p.name: p for p in own if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def check_keywords(schema: type[BaseModel], values: Spec, where: str) -> dict[str, Any]:
    """`values` converted to the types of the schema (a list to a tuple); ConfigError names the key at fault.

    Checked as JSON, because a configuration holds JSON values: a list fits a tuple, a bool is not an int.
    """
    try:
        checked = schema.model_validate_json(json.dumps(dict(values), default=str))
    except ValidationError as error:
        raise _as_config_error(error, schema, where) from None
    return {key: getattr(checked, key) for key in values}


def _as_config_error(error: ValidationError, schema: type[BaseModel], where: str) -> ConfigError:
    # a misspelt key is both unknown and missing: the unknown one says what was meant
    first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    if SELF in first["msg"]:  # a spec inside this spec says what is wrong; only here is its place known
        owner = ".".join([where, *map(str, first["loc"])])
        return ConfigError(first["msg"].removeprefix("Value error, ").replace(SELF, owner))
    for each in error.errors(include_url=False):  # of a union's members, the one that says what may be written
        if (
            each["type"] == "string_pattern_mismatch"
            and each["ctx"]["pattern"] == DURATION
            and each["loc"][:1] == first["loc"][:1]
        ):
            first = {**each, "msg": 'A length is a number of steps, of epochs ("2ep") or a fraction of the run ("5%")'}
    location = [where] if where else []
    # pydantic appends the union member it tried (e.g. "constrained-str"): only real keys and indices are shown
    location += [str(part) for part in first["loc"][:1]]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        return unknown_key(str(first["loc"][0]), where, schema.model_fields)
    if first["type"] == "missing":
        return ConfigError(f"missing value for '{key}'", "it has no default", f"add {key}=...")
    value, problem = json.dumps(first["input"], default=str), first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] == "literal_error":
        close = nearest(str(first["input"]), re.findall(r"'([^']*)'", first["ctx"]["expected"]))
        problem += f"; {close}" if close.startswith("did you mean") else ""
    return ConfigError(f"bad value {value[:80]} for '{key}'", problem, f"give another {key}=...")


def unknown_key(key: str, where: str, known: Iterable[str]) -> ConfigError:
    """`where` (empty: the root) takes the keys `known`, not `key`."""
    full = f"{where}.{key}" if where else key
    return ConfigError(f"unknown key '{full}'", f"{where or 'the configuration'} has no such key", nearest(key, known))


def unknown_name(kind: str, name: Any, where: str, known: Iterable[str]) -> ConfigError:
    """No `kind` of this name is among the `known` ones."""
    return ConfigError(f"unknown {kind} '{name}'", f"key {where}.name", nearest(str(name), known))


class Registry:
    """A table of constructors by name. `runtime` names the parameters that callers of `build` supply."""

    def __init__(self, kind: str, runtime: Sequence[str] = ()) -> None:
        self.kind = kind
        self.runtime = tuple(runtime)
        self._entries: dict[str, Callable[..., Any]] = {}

    def __call__(self, name: str) -> Callable[[T], T]:
        """Decorator: register a class or function under `name`; a name can be taken only once."""

        def register(target: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice: {self._entries[name]} and {target}")
            self._entries[name] = target
            return target

        return register

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        return sorted(self._entries)

    def get(self, name: Any, where: str = "") -> Callable[..., Any]:
        if not isinstance(name, str) or name not in self._entries:
            raise unknown_name(self.kind, name, where or self.kind, self._entries)
        return self._entries[name]

    def schema(self, name: str) -> type[BaseModel]:
        return signature_schema(self.get(name), self.runtime)

    def _call(self, spec: Spec | str, where: str) -> tuple[Callable[..., Any], dict[str, Any]]:
        """The constructor that `spec` names and its keyword arguments, checked."""
        where = where or self.kind
        spec = {"name": spec} if isinstance(spec, str) else spec
        if not isinstance(spec, Mapping) or "name" not in spec:
            raise ConfigError(
                f"'{where}' does not name the {self.kind}",
                f"key {where}.name",
                f"choose one of: {', '.join(self.names())}",
            )
        target = self.get(spec["name"], where)
        values = {key: value for key, value in spec.items() if key != "name"}
        return target, check_keywords(self.schema(spec["name"]), values, where)

    def check(self, spec: Spec | str, where: str = "") -> dict[str, Any]:
        """`spec` as it is stored: every bare name, also of a spec inside it, is a mapping. Builds nothing."""
        _, checked = self._call(spec, where)
        complete = {"name": spec} if isinstance(spec, str) else spec
        nested = {key: value for key, value in checked.items() if isinstance(value, dict)}
        return {**complete, **nested}

    def build(self, spec: Spec | str, where: str = "", **runtime: Any) -> Any:
        """Check `spec`, then call its constructor with it and those `runtime` values that it takes."""
        target, keywords = self._call(spec, where)
        accepted = keyword_parameters(target)
        return target(**keywords, **{key: value for key, value in runtime.items() if key in accepted})

    def spec_type(self, takes: str = "") -> Any:
        """The annotation of a parameter that holds a spec of this registry, checked along with its owner.

        If `takes` is set, the constructor must have a parameter of that name.
        """

        def normalized(spec: Any) -> dict[str, Any]:
            if not isinstance(spec, Mapping | str):
                shown = json.dumps(spec, default=str)[:40]
                raise ValueError(f"'{SELF}' names a registered {self.kind}, not {shown}; use {SELF}=NAME")
            name = spec if isinstance(spec, str) else spec.get("name")
            able = [each for each, target in self._entries.items() if takes in keyword_parameters(target)]
            if takes and isinstance(name, str) and name in self._entries and name not in able:
                raise ValueError(f"{self.kind} '{name}' takes no {takes}; key {SELF}; choose one of: {', '.join(able)}")
            try:
                return self.check(spec, SELF)
            except ConfigError as error:
                raise ValueError(str(error)) from None

        return Annotated[dict[str, Any], BeforeValidator(normalized)]


MODELS = Registry("model", runtime=("image_shape", "num_classes"))
NETWORKS = Registry("network", runtime=("inp", "out", "conditions"))
DATASETS = Registry("dataset", runtime=("seed",))
CORRUPTIONS = Registry("corruption")
AUGMENTATIONS = Registry("augmentation", runtime=("image_shape",))
REGULARIZERS = Registry("regularizer")
EXTRACTORS = Registry("extractor")
OPTIMIZERS = Registry("optimizer", runtime=("params",))
SCHEDULES = Registry("schedule")
EVALUATORS = Registry("evaluator", runtime=("key",))
LOGGERS = Registry("logger", runtime=("folder", "resumed_at"))

NetworkSpec = NETWORKS.spec_type()
ConditionedNetworkSpec = NETWORKS.spec_type(takes="conditions")  # genlab/nn/layers/conditions.py
DatasetSpec = DATASETS.spec_type()  # of a data set inside another
CorruptionSpec = CORRUPTIONS.spec_type()
AugmentationSpec = AUGMENTATIONS.spec_type()
ModelSpec = MODELS.spec_type()  # of a model inside another

PACKAGES = ("engine.optimizers", "nn.networks", "nn.augment", "models", "data.datasets", "evaluation", "loggers")
broken_plugins: dict[str, str] = {}
loaded_plugins: list[str] = []  # the modules that --plugin named


@functools.cache
def discover() -> None:
    """Import every module that registers something, then the installed plug-ins (entry points `genlab.plugins`).

    A plug-in that cannot be imported is noted in `broken_plugins` (shown by `genlab doctor`) and left out.
    """
    for package in PACKAGES:
        module = importlib.import_module(f"genlab.{package}")
        for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
            importlib.import_module(info.name)
    for point in entry_points(group="genlab.plugins"):
        plugin_modules.add(point.module)
        try:
            point.load()
        except (Exception, SystemExit) as error:  # a stranger's package may raise anything
            broken_plugins[point.name] = f"{type(error).__name__}: {error}"


def load_plugins(names: Sequence[str]) -> None:
    """Import the modules that `--plugin` names; they register their components."""
    for name in names:
        plugin_modules.add(name)
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"plug-in '{name}' cannot be imported ({type(error).__name__}: {error})",
                "--plugin",
                "install it or put its folder on PYTHONPATH",
            ) from error
        if name not in loaded_plugins:
            loaded_plugins.append(name)

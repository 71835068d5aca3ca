"""A constructor's signature is its schema, that of its base class included where it takes `**options`."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from genlab.errors import ConfigError
from genlab.registry import MODELS, PositiveInt, Registry, keyword_parameters, signature_schema

SHAPES = Registry("shape", runtime=("canvas",))


class Base:
    def __init__(self, canvas: str, size: PositiveInt, color: str = "red") -> None:
        self.canvas, self.size, self.color = canvas, size, color


@SHAPES("square")
class Square(Base):
    def __init__(self, color: str = "blue", angle: float = 0.0, **options: Any) -> None:
        super().__init__(color=color, **options)
        self.angle = angle


@SHAPES("fixed")
class Fixed(Square):
    def __init__(self, canvas: str) -> None:
        super().__init__(canvas=canvas, size=3)


def test_options_stand_for_the_parameters_of_the_base() -> None:
    assert set(keyword_parameters(Square)) == {"canvas", "size", "color", "angle"}
    assert set(SHAPES.schema("square").model_fields) == {"size", "color", "angle"}
    square = SHAPES.build({"name": "square", "size": 2}, "shape", canvas="wall")
    assert (square.canvas, square.size, square.color) == ("wall", 2, "blue")
    with pytest.raises(ConfigError, match=r"'shape\.size'.*greater than 0"):
        SHAPES.check({"name": "square", "size": 0}, "shape")
    with pytest.raises(ConfigError, match=r"unknown key 'shape\.sise'.*did you mean 'size'"):
        SHAPES.check({"name": "square", "sise": 2}, "shape")


def test_a_name_that_is_a_list_is_a_bad_value() -> None:
    with pytest.raises(ConfigError, match=r"model\.network"):
        MODELS.check({"name": "flow_matching", "network": {"name": ["film_mlp"]}}, "model")


def test_a_constructor_without_options_takes_its_own_keys_alone() -> None:
    assert set(keyword_parameters(Fixed)) == {"canvas"}
    with pytest.raises(ConfigError, match=r"unknown key 'shape\.size'"):
        SHAPES.check({"name": "fixed", "size": 2}, "shape")


def test_a_key_may_have_the_name_of_a_method_of_the_schema() -> None:
    def target(json: str = "a", copy: int = 1) -> None: ...

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(signature_schema(target).model_fields) == {"json", "copy"}

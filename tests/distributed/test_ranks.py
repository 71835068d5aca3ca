"""The environment of a rank: read, or refused in one line by each process that finds it wrong."""

from __future__ import annotations

import pytest

from genlab.distributed.ranks import VARIABLES, Ranks, from_environment
from genlab.errors import RankError
from tests.support.commands import Refused

WHOLE = {
    "WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}  # fmt: skip
WRONG = {
    "size-not-a-number": ({"WORLD_SIZE": "x"}, "WORLD_SIZE is 'x', not a number from 1 to 1048576"),
    "size-zero": ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
    "size-negative": ({"WORLD_SIZE": "-2"}, "WORLD_SIZE is '-2'"),
    "size-empty": ({"WORLD_SIZE": ""}, "WORLD_SIZE is ''"),
    "size-of-4300-digits": ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE is '99999999999999999999'"),
    "size-other-digits": ({"WORLD_SIZE": "²"}, "WORLD_SIZE is '²'"),
    "size-missing": ({"WORLD_SIZE": None}, "LOCAL_WORLD_SIZE is '2', not 1; environment, where WORLD_SIZE is not set"),
    "rank-alone": (dict.fromkeys(WHOLE) | {"RANK": "1"}, "RANK is '1', not 0; environment, where WORLD_SIZE is not"),
    "rank-above-size": ({"RANK": "4"}, "RANK is '4', not a number from 0 to 3"),
    "rank-negative": ({"RANK": "-1"}, "RANK is '-1'"),
    "rank-missing": ({"RANK": None}, "RANK is not set; environment, where WORLD_SIZE is '4'"),
    "local-rank-missing": ({"LOCAL_RANK": None}, "LOCAL_RANK is not set"),
    "local-rank-above-host": ({"LOCAL_RANK": "2"}, "LOCAL_RANK is '2', not a number from 0 to 1"),
    "host-above-size": ({"LOCAL_WORLD_SIZE": "5"}, "LOCAL_WORLD_SIZE is '5', not a number from 1 to 4"),
    "address-missing": ({"MASTER_ADDR": None}, "MASTER_ADDR is not set"),
    "address-empty": ({"MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
    "port-not-a-number": ({"MASTER_PORT": "http"}, "MASTER_PORT is 'http', not a number from 1 to 65535"),
    "port-missing": ({"MASTER_PORT": None}, "MASTER_PORT is not set"),
}


def put(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str | None]) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_environment_is_refused(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, said = WRONG[case]
    put(monkeypatch, {**WHOLE, **change})
    with pytest.raises(RankError) as refused:
        from_environment()
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (WHOLE, Ranks(3, 4, 1, 2)),
        ({**WHOLE, "LOCAL_WORLD_SIZE": None}, Ranks(3, 4, 1, None)),
        ({"WORLD_SIZE": "1"}, Ranks()),
        ({"RANK": "0"}, Ranks()),
        ({}, Ranks()),
    ],
)
def test_a_right_environment_is_read(
    environment: dict[str, str | None], expected: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, environment)
    assert from_environment() == expected


@pytest.mark.parametrize(
    "words", [["train"], ["train", "-m", "seed=1,2"], ["resume", "last"], ["bench", "vae_mlp_mnist"]]
)
def test_commands_refuse_it_in_every_process(
    words: list[str], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, {**WHOLE, "RANK": "7"})  # no rank 0 would print it for this process
    assert "RANK is '7'" in refused(*words)

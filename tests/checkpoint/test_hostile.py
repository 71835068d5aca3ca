"""Files made to harm, with a manifest that fits them: refused with code 4, in bounded memory, nothing executed."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as library_save

from genlab.checkpoint.manager import Checkpoints, read
from genlab.errors import CheckpointError, ResourceError
from tests.support.durable import forge, in_child

GOOD_TENSORS = library_save({"a": torch.zeros(2)})
GOOD_STATE = b'{"step": 3, "state": {}}'


def _file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def _entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


# as many small objects as the limit lets in
MANY = b"{" + b",".join(b'"%d":[]' % i for i in range(340_000)) + b"}"

TENSORS: dict[str, bytes] = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "header of 2**64-1": _file(b"{}", length=2**64 - 1),
    "header of 2**63": _file(b"{}", length=2**63),
    "header of 100 MB": _file(b"{}" + b" " * 10**8, length=10**8 + 2),
    "header longer than the file": _file(b"{}", length=100),
    "not UTF-8": _file(b"\xff\xfe{}"),
    "UTF-16": _file("{}".encode("utf-16")),
    "no JSON": _file(b"{'a': 1}"),
    "a list": _file([]),
    "a number": _file(b"1"),
    "NaN": _file(b'{"a": NaN}'),
    "a number of a million digits": _file(b'{"a": ' + b"9" * 10**6 + b"}"),
    "deep lists": _file(b"[" * 500_000 + b"]" * 500_000),
    "deep objects": _file(b'{"a":' * 500_000 + b"1" + b"}" * 500_000),
    "duplicate tensor": _file(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                              b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', b"\0" * 8),
    "duplicate field": _file(b'{"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
    "overlap": _file({"a": _entry(), "b": _entry()}, b"\0" * 4),
    "partial overlap": _file({"a": _entry(), "b": _entry("I16", [2], [2, 6])}, b"\0" * 6),
    "hole": _file({"a": _entry(), "b": _entry(offsets=[8, 12])}, b"\0" * 12),
    "hole at the start": _file({"a": _entry(offsets=[4, 8])}, b"\0" * 8),
    "bytes left over": _file({"a": _entry()}, b"\0" * 8),
    "offsets beyond the end": _file({"a": _entry(shape=[10**9], offsets=[0, 4 * 10**9])}, b"\0" * 4),
    "giant shape": _file({"a": _entry(shape=[10**9])}, b"\0" * 4),
    "shape whose product overflows": _file({"a": _entry(shape=[2**33, 2**33])}, b"\0" * 4),
    "giant shape without elements": _file({"a": _entry(shape=[0, 2**62, 2**62], offsets=[0, 0])}),
    "negative shape": _file({"a": _entry(shape=[-1, -1])}, b"\0" * 4),
    "shape of bools": _file({"a": _entry(shape=[True])}, b"\0" * 4),
    "shape of floats": _file({"a": _entry(shape=[1.0])}, b"\0" * 4),
    "shape of strings": _file({"a": _entry(shape=["1"])}, b"\0" * 4),
    "shape is a number": _file({"a": _entry(shape=1)}, b"\0" * 4),
    "unknown dtype": _file({"a": _entry("PICKLE")}, b"\0" * 4),
    "dtype is a list": _file({"a": _entry(["F32"])}, b"\0" * 4),
    "offsets backwards": _file({"a": _entry(offsets=[4, 0])}, b"\0" * 4),
    "negative offsets": _file({"a": _entry(offsets=[-4, 0])}, b"\0" * 4),
    "three offsets": _file({"a": _entry(offsets=[0, 2, 4])}, b"\0" * 4),
    "a field too few": _file({"a": {"dtype": "F32", "shape": [1]}}, b"\0" * 4),
    "entry is null": _file({"a": None}),
    "a pickle": b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
}  # fmt: skip

STATES: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"{'step': 3}",
    "not UTF-8": b'{"step": 3, "state": {"a": "\xff"}}',
    "a list": b"[]",
    "no step": b'{"state": {}}',
    "no state": b'{"step": 3}',
    "a key too many": b'{"step": 3, "state": {}, "code": 1}',
    "step is a string": b'{"step": "3", "state": {}}',
    "step is a bool": b'{"step": true, "state": {}}',
    "step is a float": b'{"step": 3.0, "state": {}}',
    "another step": b'{"step": 4, "state": {}}',
    "state is a list": b'{"step": 3, "state": []}',
    "state is a tuple": b'{"step": 3, "state": {"$": "tuple", "v": []}}',
    "duplicate keys": b'{"step": 3, "state": {"a": 1, "a": 2}}',
    "Infinity": b'{"step": 3, "state": {"a": Infinity}}',
    "huge integer": b'{"step": 3, "state": {"a": ' + b"9" * 10**6 + b"}}",
    "deep lists": b'{"step": 3, "state": {"a": ' + b"[" * 10**6 + b"]" * 10**6 + b"}}",
    "rather deep lists": b'{"step": 3, "state": {"a": ' + b"[" * 300 + b"]" * 300 + b"}}",
    "deep marks": b'{"step": 3, "state": {"a": ' + b'{"$":"tuple","v":[' * 300 + b"]}" * 300 + b"}}",
    "too long": b'{"step": 3, "state": {"a": "' + b"x" * 5 * 2**20 + b'"}}',
    "unknown mark": b'{"step": 3, "state": {"a": {"$": "object", "v": "os.system"}}}',
    "mark without value": b'{"step": 3, "state": {"a": {"$": "float"}}}',
    "mark with more": b'{"step": 3, "state": {"a": {"$": "float", "v": "inf", "x": 1}}}',
    "float that is none": b'{"step": 3, "state": {"a": {"$": "float", "v": "1e3"}}}',
    "pairs are no pairs": b'{"step": 3, "state": {"a": {"$": "dict", "v": [[1, 2, 3]]}}}',
    "pairs are an object": b'{"step": 3, "state": {"a": {"$": "dict", "v": {}}}}',
    "a key twice in pairs": b'{"step": 3, "state": {"a": {"$": "dict", "v": [[1, 2], [1, 3]]}}}',
    "a list as key": b'{"step": 3, "state": {"a": {"$": "dict", "v": [[[1], 2]]}}}',
    "a tensor without layout": b'{"step": 3, "state": {"a": {"$": "tensor", "v": ["w"]}}}',
}


def _refused(folder: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(folder)
    assert caught.value.code == 4
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.fixture
def folder(place: Path) -> Path:
    return place / "step-00000003"


def test_the_good_one_is_read(folder: Path) -> None:
    assert read(forge(folder, GOOD_TENSORS, GOOD_STATE)).step == 3


@pytest.mark.parametrize("case", TENSORS)
def test_tensors(case: str, folder: Path) -> None:
    _refused(forge(folder, TENSORS[case], GOOD_STATE))


@pytest.mark.parametrize("case", STATES)
def test_states(case: str, folder: Path) -> None:
    _refused(forge(folder, GOOD_TENSORS, STATES[case]))


def test_memory_stays_bounded(folder: Path) -> None:
    """All cases again, in a child that may take 200 MB more than it has."""

    def read_all() -> None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + 200 * 10**6, resource.RLIM_INFINITY))
        for tensors in [*TENSORS.values(), _file(MANY)]:
            _refused(forge(folder, tensors, GOOD_STATE))
        for state in [*STATES.values(), b'{"step": 3, "state": {"a": [' + b"[]," * 1_380_000 + b"1]}, 5: 1}"]:
            _refused(forge(folder, GOOD_TENSORS, state))

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to tell how much memory is taken")
    assert in_child(read_all) == 0


def test_a_true_giant_is_out_of_memory_not_damage(folder: Path) -> None:
    """A sparse file that really has 4 GB of tensor: the machine is too small, the file is not bad."""

    def read_it() -> None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + 200 * 10**6, resource.RLIM_INFINITY))
        with pytest.raises(ResourceError, match="no memory"):
            read(folder)

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to tell how much memory is taken")
    header = _file({"a": _entry(shape=[10**9], offsets=[0, 4 * 10**9])})
    forge(folder, header, GOOD_STATE)
    os.truncate(folder / "tensors.safetensors", len(header) + 4 * 10**9)
    assert in_child(read_it) == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["F32", "$", "v"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "$", "v", "dtype"]), inner),
    max_leaves=12,
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "BOOL", "C64", "?"]) | json_values,
        "shape": st.lists(st.integers(-1, 4) | st.sampled_from([2**31, 2**63]), max_size=4) | json_values,
        "data_offsets": st.lists(st.integers(-4, 40), min_size=2, max_size=2) | json_values,
    }
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.dictionaries(st.text(max_size=3), entries | json_values, max_size=4) | json_values,
    data=st.binary(max_size=40),
    state=json_values,
)
def test_any_header_and_state(header: Any, data: bytes, state: Any, folder: Path) -> None:
    """Whatever the JSON says, the outcome is a checkpoint or a CheckpointError."""
    text = json.dumps({"step": 3, "state": state}).encode()
    forge(folder, _file(header, data), text)
    try:
        loaded = read(folder)
    except CheckpointError:
        return
    assert sum(tensor.nbytes for tensor in loaded.tensors.values()) == len(data)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_manifest(data: bytes, folder: Path) -> None:
    forge(folder, GOOD_TENSORS, GOOD_STATE)
    (folder / "manifest.json").write_bytes(data)
    _refused(folder)
    with pytest.raises(CheckpointError):
        Checkpoints(folder.parent).newest()

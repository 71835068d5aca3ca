"""Odd values, names and texts, and odd changes of what is right: the material of every fuzzed class."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

LONG = "x" * 300
WORDS = [
    "", " ", "null", "None", "true", "false", "nan", "-nan", "inf", "-inf", "1e999", "-1", "0", "-0.0", "1", "2.5",
    "1e-30",
    "1e18", "99999999999999999999", "-99999999999999999999", "2147483648", "0x10", "0b1", "1_000", "1e3", "½", "١",
    "--", "-", "=",
    "[]", "{}", "[1]", "[1,2]", "[-1]", "[0]", "[nan]", "[null]", "[[1]]", "[[[[[]]]]]", "{a:1}", "{a:{b:{c:1}}}",
    "{name:vae}",
    "{name:null}", "{name:[1]}", "{name:mlp}", "{name:mlp,hidden:[-1]}", "{name:nothing}", "{1:2}", "{:}", "[", "]",
    "{", "}", "(", ")",
    "'", '"', "'x", "\\", "\\\\", "a b", "a,b", "1,2,3", "range(3)", "int(3)", "glob(*)", "choice(a,b)", "sort(a)",
    "str(1)",
    "float(x)", "json_str('{')", "${seed}", "${oc.env:HOME}", "${oc.env:NOTHING}", "${oc.decode:1}",
    "${oc.create:{a:1}}", "${nothing}",
    "${.}", "${..}", "${${seed}}", "${model}", "${trainer.steps}", "${hydra:runtime.cwd}", "${hydra.job.name}", "${",
    "$", "${}",
    "${now:%Y}", "${eval:1}", "???", "{_target_:os.system}", "{_target_:builtins.eval,_args_:[1]}",
    "{_partial_:true}", "_target_",
    "os.system", "../x", "/", "/etc/passwd", "/dev/null", "/dev/zero", "~", "~nosuchuser/x", ".", "..", "-rf", "*",
    "?", "a/b", "a:b", "a@b", "é",
    "🙂", "\u202e", "\u200b", "ﬁ", "\udcff", "\x00", "a\x00b", "\n", "a\nb", "\r", "\t", "\x1b[31m", "\x7f", LONG,
    LONG * 20, "%s%n", "{0}", "!!python/object",
    "&a", "*a", "!!int 1", "|", ">", "# x", "a: b", "- a", "2ep", "5%", "0ep", "-1ep", "1e9ep", "200%", "auto",
    "last", "default", "vae",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**20, -(10**20), 0.0, -0.5, 1e-30, 1e30, float("nan"), float("inf"),
    "", " ", "x", "nan", LONG,
    "é", "\u202e", "\x1b[31m", "\x00", "${seed}", "${oc.env:HOME}", "???", [], [[]], [None], [1], [-1], ["x"], {},
    {"a": 1}, {"name": "mlp"},
    {"name": None}, {"_target_": "os.system"}, {"name": "vae", "_target_": "os.system"}, [{}], {"": 1}, {"a.b": 1},
    [0] * 1000, "../x", "/etc/passwd",
]  # fmt: skip
LETTERS = "abcxyz_.-=/:,[]{}()'\"\\$~+@!?*#%&|<> \t0159é🙂\u202e\x00\n"


def word(rng: random.Random, right: str = "1") -> str:
    """A value as text: an odd one, one near `right`, or noise."""
    return rng.choice([lambda: rng.choice(WORDS), lambda: misspelled(rng, right), lambda: noise(rng)])()


def noise(rng: random.Random, longest: int = 20) -> str:
    return "".join(rng.choices(LETTERS, k=rng.randrange(longest)))


def misspelled(rng: random.Random, text: str) -> str:
    """`text` with one letter lost, doubled, changed, swapped or in the other case, or with more before or behind."""
    if not text:
        return noise(rng)
    at = rng.randrange(len(text))
    return rng.choice([
        text[:at] + text[at + 1 :], text[:at] + text[at] + text[at:], text[:at] + rng.choice(LETTERS) + text[at + 1 :],
        text[:at] + text[at:][1:2] + text[at : at + 1] + text[at + 2 :], text[:at] + text[at:].swapcase(), text + text,
        text + noise(rng, 4), noise(rng, 4) + text, text.upper(), f" {text}", f"{text} ", f"-{text}", f"{text}.{text}",
    ])  # fmt: skip


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a tree of dictionaries and lists, with each of its keys."""
    for key in tree if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from places(tree[key])


def changed(rng: random.Random, tree: Any) -> Any:
    """A copy of a tree with one to three values replaced, removed, renamed, moved or nested."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        found = list(places(tree))
        if not found:
            return rng.choice(VALUES)
        holder, key = rng.choice(found)
        _change(rng, holder, key, found)
    return tree


def _change(rng: random.Random, holder: Any, key: Any, found: list[tuple[Any, Any]]) -> None:
    other, elsewhere = rng.choice(found)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[misspelled(rng, str(key))] = holder.pop(key)
        case 2 if isinstance(holder, dict):
            holder[rng.choice([noise(rng), "_target_", "name", "", LONG])] = copy.deepcopy(rng.choice(VALUES))
        case 3:
            holder[key] = copy.deepcopy(other[elsewhere])
        case 4:
            holder[key] = deep(rng.choice([5, 20, 200]), holder[key])
        case 5 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = rng.choice(
                [-holder[key], holder[key] + 0.5, holder[key] * 1000, str(holder[key]), [holder[key]]]
            )
        case 6 if isinstance(holder[key], str):
            holder[key] = misspelled(rng, holder[key])
        case _:
            holder[key] = copy.deepcopy(rng.choice(VALUES))


def deep(depth: int, value: Any) -> Any:
    """`value` inside `depth` lists or dictionaries."""
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes that are cut, changed, doubled, shuffled, emptied or replaced."""
    at, to = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return rng.choice([
        lambda: data[:at], lambda: data[at:], lambda: data[:at] + data[to:], lambda: data[:to] + data[at:],
        lambda: data[:at] + rng.randbytes(to - at) + data[to:],
        lambda: data[:at] + rng.randbytes(rng.randrange(9)) + data[at:],
        lambda: bytes(b ^ (rng.random() < 0.01) * rng.randrange(256) for b in data), lambda: b"", lambda: data * 2,
        lambda: rng.randbytes(rng.randrange(200)),
        lambda: data[:at] + rng.choice(WORDS).encode(errors="replace") + data[at:],
        lambda: b"[" * 100_000, lambda: b"\x00" * len(data), lambda: b"\xff\xfe" + data,
        lambda: data.replace(b"\n", b"\r"),
    ])()  # fmt: skip

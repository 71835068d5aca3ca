from __future__ import annotations

import re
from html import unescape
from typing import Any

from genlab.reports.evaluation_table import HEADER, evaluation_table, values


def result(metrics: dict[str, float | None], seed: int = 0, **protocol: Any) -> dict[str, Any]:
    usual = {"evaluator": "fid", "options": {}, "split": "test", "count": 1000, "step": 3000, "weights": "raw"}
    return {"file": "x.json", "metrics": metrics, "protocol": {**usual, "seed": seed, **protocol}}


def rows(html: str) -> list[list[str]]:
    """The text of each cell."""
    lines = re.findall("<tr>(.*?)</tr>", html, re.DOTALL)
    return [[unescape(re.sub("<.*?>", " ", cell)).strip() for cell in re.findall("<t[dh]>(.*?)</t[dh]>", line)]
            for line in lines]  # fmt: skip


def test_every_number_has_its_protocol() -> None:
    header, first, second = rows(evaluation_table([
        result({"fid": 9.25}, options={"images": 500, "extractor": "pixels"}, generated_images=500, real_images=400),
        result({"nll": -3.5}, seed=4, evaluator="nll", weights="ema", images=20),
    ]))  # fmt: skip
    assert tuple(header) == HEADER
    assert first == ["fid images=500 extractor=pixels", "fid: 9.25", "test", "500 generated 400 real", "3,000", "0"]
    assert second == ["nll averaged weights", "nll: -3.5", "test", "20 of 1,000", "3,000", "4"]


def test_results_of_several_seeds_are_one_row_with_their_deviation() -> None:
    _, row, other = rows(evaluation_table([
        result({"fid": 1.0}, seed=1), result({"fid": 3.0}), result({"fid": 2.0}, seed=2), result({"fid": 9.0}, step=1),
    ]))  # fmt: skip
    assert (row[1], row[5]) == ("fid: 2 ± 1 (sd of 3 seeds)", "0, 1, 2")
    assert (other[1], other[4]) == ("fid: 9", "1")


def test_error_bars_that_were_measured_stand_beside_their_number() -> None:
    metrics = {"kid": 0.25, "kid_sd": 0.015, "kid_floor": 0.5, "rate": 0.05, "rate_low": 0.03, "rate_high": 0.08,
               "fine_low": 1.0, "nan": None, "fid": 2.0, "fid_seed_sd": 0.5}  # fmt: skip
    assert dict(values([metrics])) == {
        "kid": "0.25 ± 0.015 (sd)", "kid_floor": "0.5", "rate": "0.05 (0.03 to 0.08)", "fine_low": "1",
        "nan": "not finite", "fid": "2 ± 0.5 (sd over sampling seeds)",
    }  # fmt: skip


def test_nothing_measured_is_no_table_and_text_is_no_markup() -> None:
    assert evaluation_table([]) == ""
    assert evaluation_table([result({})]) == ""  # only images
    html = evaluation_table([result({"<b>": 1.0}, options={"<script>": "<i>"}, evaluator="<u>")])
    assert not re.search("<(b|script|i|u)>", html)

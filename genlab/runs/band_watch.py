"""A logger that follows a run's numbers and says whether they lie in the band of the experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab.core.values import ForwardingLogger, Logger
from genlab.runs.bands import Band, Judge, words

BAND = "band"  # the name of the texts


class BandWatch(ForwardingLogger):
    """Passes everything on to `logger`, and a text named `band` whenever the run enters or leaves the band.

    `band` None: nothing is compared. A run that resumes is judged from its first step on, by its metrics.jsonl.
    """

    def __init__(self, logger: Logger, band: Band | None, run: Path) -> None:
        self._logger, self._run = logger, run
        self._judge = Judge(band) if band else None
        self._said = ""

    def forward(self, method: str, *arguments: Any) -> None:
        getattr(self._logger, method)(*arguments)

    def start(self, first_step: int, last_step: int, title: str) -> None:
        super().start(first_step, last_step, title)
        if self._judge and first_step:
            self._judge.replay(self._run)
            self._say(first_step)

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        super().scalars(step, split, values)
        if self._judge:
            self._judge.add(step, split, values)
            self._say(step)

    def close(self) -> None:
        self._logger.close()

    def found(self) -> dict[str, Any] | None:
        """What run.json says about the band; None without one."""
        return self._judge.found() if self._judge else None

    def _say(self, step: int) -> None:
        found = self.found()
        text = words(found) if found else ""
        state = text.partition(":")[0]  # values change at every point, the state seldom
        if state != self._said:
            self._said = state
            self.text(step, BAND, text)

"""How the store grows with the set: memory and start must not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import synthetic

SMALL = [synthetic.encoded(synthetic.photo(seed, 10, 8)) for seed in range(5)]

MEASURE = """
import json, resource, sys, threading, time
from pathlib import Path
from genlab.data.store import isolate

peaks = {"children": 0}  # VmHWM of each child, looked at until it ends: ru_maxrss would begin with the parent's
def watch(pid):
    try:
        while True:
            status = Path(f"/proc/{pid}/status").read_text()
            if "genlab.data.store.isolate" not in Path(f"/proc/{pid}/cmdline").read_text():
                peak = 0  # not yet itself
            elif "VmHWM" in status:
                peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
            peaks["children"] = max(peaks["children"], peak)
            time.sleep(0.02)
    except (OSError, IndexError, ValueError):
        pass

start = isolate._start
def started(job, answers):
    child = start(job, answers)
    threading.Thread(target=watch, args=(child.pid,), daemon=True).start()
    return child
isolate._start = started

def own():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

def rows(source, size):
    import torch
    from genlab.data.datasets import lsun
    from genlab.data.store import table
    table.fits = lambda nbytes, device: False
    import genlab.data.dataset
    genlab.data.dataset.fits = table.fits
    dataset = lsun.LSUN(root=source, size=size)
    before = own()
    images = len(dataset.prepare().images)
    built = own() - before
    began = time.process_time()
    data = dataset.open(torch.device("cpu"))
    opened = time.process_time() - began
    before = own()
    batches = data.batches(("image",), 64)
    batches.end = min(3000, images // 64 * 2)
    for step in range(batches.end):
        batches.at(step)
    return {"images": images, "built": built, "opened": opened, "trained": own() - before, **peaks}

print(json.dumps(rows(sys.argv[1], int(sys.argv[2]))))
"""


def measured(tmp_path: Path, images: int, size: int) -> dict[str, float]:
    """Bytes by which building and training raise this process's peak, a child's peak, seconds to open."""
    source = synthetic.lsun(tmp_path / str(images), images, 1, lambda i: SMALL[i % 5])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GENLAB_CACHE": str(tmp_path / "cache")}
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, str(source), str(size)], env=environment, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    found: dict[str, float] = json.loads(told.stdout)
    assert found["images"] == images + 1
    return found


@pytest.mark.parametrize(
    ("few", "many"), [(2_000, 20_000), pytest.param(20_000, 200_000, marks=pytest.mark.acceptance)]
)
def test_memory_and_start_do_not_grow_with_the_set(tmp_path: Path, few: int, many: int) -> None:
    size = 32  # 3 kB of uint8 for each image
    a, b = (measured(tmp_path, images, size) for images in (few, many))
    more = many - few
    assert b["built"] - a["built"] < 50 * more + 2**22  # bytes: far less than keys as Python objects, or pictures
    assert b["children"] - a["children"] < 2**25  # the part of the LMDB that is mapped at a time
    assert b["trained"] - a["trained"] < 100 * more + 2**23  # the order's int64 numbers, and nothing of the pictures
    assert b["opened"] - a["opened"] < 1e-6 * more + 0.05  # splits are drawn over all row numbers, 0.1 s for 3 million

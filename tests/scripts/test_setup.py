"""scripts/setup.sh: which build of torch it installs, seen with a `uv` that only notes what it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = """#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in
venv*) mkdir -p "$4/bin"; ln -s "$PYTHON" "$4/bin/python" ;;
*whl/cpu*) [ -n "$INDEX" ] || exit 1; info="$SITE/torch-2.15.0+cpu.dist-info"; mkdir -p "$info"
    printf 'Metadata-Version: 2.1\\nName: torch\\nVersion: 2.15.0+cpu\\n' >"$info/METADATA" ;;
esac
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch has no CUDA libraries")


def setup(tmp_path: Path, *, index: bool, nvidia: bool) -> tuple[list[str], str]:
    """What `uv` was asked to do, and the lock that it was given."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {"uv": UV, **({"nvidia-smi": "#!/bin/sh\n"} if nvidia else {})}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    site = str(tmp_path / "site")
    environment = {
        "PATH": f"{tools}:/usr/bin:/bin", "LOG": str(tmp_path / "log"), "INDEX": "1" if index else "",
        "SITE": site, "PYTHON": sys.executable, "PYTHONPATH": site, "PYTHONNOUSERSITE": "1",
    }  # fmt: skip
    lock = ROOT / "requirements.lock"
    subprocess.run(["scripts/setup.sh", str(tmp_path / "venv"), str(lock)], cwd=ROOT, env=environment, check=True)
    calls = (tmp_path / "log").read_text().splitlines()
    used = next(call for call in calls if "--require-hashes" in call).split()[-1]
    return calls, Path(used).read_text()


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has an NVIDIA GPU")
def test_without_an_nvidia_gpu_the_cpu_build_takes_the_place_of_the_cuda_libraries(tmp_path: Path) -> None:
    calls, lock = setup(tmp_path, index=True, nvidia=False)
    assert any("--no-deps --index-url https://download.pytorch.org/whl/cpu torch==" in call for call in calls)
    assert "nvidia-" not in lock
    assert "\ntorch==" not in lock
    assert "\nnumpy==" in lock
    assert "--hash=sha256:" in lock


@pytest.mark.parametrize("nvidia", [True, False])
def test_with_a_gpu_or_without_the_index_the_whole_lock_is_installed(nvidia: bool, tmp_path: Path) -> None:
    calls, lock = setup(tmp_path, index=False, nvidia=nvidia)
    assert lock == (ROOT / "requirements.lock").read_text()
    assert not nvidia or not any("whl/cpu" in call for call in calls)

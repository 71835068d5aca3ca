"""The page's files: for the server, or all in one."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.cli.explore.server import File

if TYPE_CHECKING:
    from genlab.cli.explore.onnx_export import Graph, Runtime
    from genlab.cli.explore.session import Session

FOLDER = Path(__file__).with_name("files")
SERVED, ALONE = ("server.js",), ("alone.js", "flow.js")  # the first scripts: what answers the requests of the others
SCRIPTS = ("common.js", "map.js", "codes.js", "panels.js")  # in the order in which they run


def served_files(described: dict[str, Any]) -> dict[str, File]:
    """The files by name: the page ("") and what it loads."""
    return {
        "": File("text/html; charset=utf-8", _page(run=described, alone=False)),
        "page.css": File("text/css; charset=utf-8", (FOLDER / "page.css").read_bytes()),
        "page.js": File("text/javascript; charset=utf-8", _script(SERVED).encode()),
    }


def single_file(session: Session, graph: Graph, runtime: Runtime) -> bytes:
    """The page with the model, its codes and onnxruntime-web inside. Its policy allows no other script and no network.

    Parts that need more of the model than the graph are left out.
    """
    style, script = (FOLDER / "page.css").read_text("utf-8"), _script(ALONE)
    policy = (
        f"default-src 'none'; script-src {_hash(script)} blob: 'wasm-unsafe-eval'; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    left_out = {"draw": False, "translate": False, "sample": None, "mix": None, "path": None}
    run = {**session.described, **left_out, **graph.described}
    data = {
        "codes": session.codes() if run["codes"] else None,
        "model": _packed(graph.content),
        "runtime": {"script": _packed(runtime.script), "wasm": _packed(runtime.wasm)},
    }
    return _page(run=run, alone=True, style=style, script=script, policy=policy, data=data)


def _page(**values: Any) -> bytes:
    import jinja2

    loader = jinja2.FileSystemLoader(FOLDER)
    environment = jinja2.Environment(
        autoescape=True, loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.jinja").render(**values).encode(errors="replace")


def _script(first: Sequence[str]) -> str:
    return "\n".join((FOLDER / name).read_text("utf-8") for name in (*first, *SCRIPTS))


def _packed(content: bytes) -> str:
    """Compressed, in base64: the browser's DecompressionStream undoes it."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _hash(text: str) -> str:
    """What a content security policy calls an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

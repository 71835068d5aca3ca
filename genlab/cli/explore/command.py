"""genlab explore: serves the page on this machine, or writes one that needs no server."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le
from pydantic import Field

from genlab.cli.images.image_command import Seed, SplitName, open_run, require, user_target, write
from genlab.cli.options import Parser, keywords, run_argument
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from genlab.cli.explore.session import Session

EXAMPLES = """\
  genlab explore last
  genlab explore last port=8000 open=false
  genlab explore last out=page.html runtime=package     one file, without a server or network
"""
KEYS = """\
  port=0        of the page's address, 127.0.0.1; 0: any free one
  open=true     open the page in the browser
  n=1000        codes on the map at most
  split=valid   whose images the codes are of: train, valid or test
  seed=0        of the codes and of the noise
  out=null      HTML file that runs the decoder in the browser; null: serve the page until Ctrl-C
  runtime=null  with out=: the folder of the npm package onnxruntime-web
"""


@dataclass(frozen=True)
class Keys:
    port: Annotated[int, Ge(0), Le(65535)] = 0
    open: bool = True
    n: Annotated[int, Gt(2), Le(10_000), Field(description="codes on the map at most")] = 1000
    split: SplitName = "valid"
    seed: Seed = 0
    out: str | None = None
    runtime: str | None = None


def parser() -> Parser:
    parse = Parser("explore", "A page in the browser that shows what a trained model can do.", EXAMPLES, KEYS)
    run_argument(parse)
    parse.add_argument("options", nargs="*", metavar="KEY=VALUE", help="see keys")
    parse.flags("checkpoint", "device", "plugin")
    return parse


def run(arguments: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, arguments.options, "genlab explore"))
    if keys.out is not None:
        return _write(keys, arguments)
    session = _session(keys, arguments)
    from genlab.cli.explore.page import served_files
    from genlab.cli.explore.server import Server

    with Server(session.answer, served_files(session.described), keys.port) as server:
        echo(f"exploring {session.loaded.path}", f"  {server.url}", "  Ctrl-C ends it")
        if keys.open:
            import webbrowser

            webbrowser.open(server.url)
        server.serve_forever()
    return 0


def _write(keys: Keys, arguments: argparse.Namespace) -> int:
    """The page as one file."""
    from genlab.cli.explore import onnx_export, page
    from genlab.utils.files import size_text

    assert keys.out is not None
    target = user_target(keys.out, "out", (".html",))
    runtime = onnx_export.read_runtime(keys.runtime)  # says what is missing before torch is loaded
    session = _session(keys, arguments)
    graph = onnx_export.export(session)
    content = page.single_file(session, graph, runtime)
    write(target, content)
    echo(f"{size_text(len(content))}: model {size_text(len(graph.content))}, the rest onnxruntime-web and the codes; "
         f"largest difference to the model {255 * graph.difference:.2g}/255")  # fmt: skip
    return 0


def _session(keys: Keys, arguments: argparse.Namespace) -> Session:
    loaded = open_run(arguments)
    require(loaded, "Decodes or Samples or Reconstructs or Translates")
    from genlab.cli.explore.session import Session

    return Session(loaded, keys.split, keys.n, keys.seed)

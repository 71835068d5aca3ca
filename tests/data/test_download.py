from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from genlab.data.datasets.mnist import MNIST
from genlab.data.download import fetch
from genlab.errors import DataError
from tests.support import synthetic

BODY = bytes(range(256)) * 2000
MD5 = hashlib.md5(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; those in `cut` end after that many bytes of what was promised."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/good": BODY, "/wrong": BODY[::-1]}
        self.cut: dict[str, int] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut.get(self.path, len(body))])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_a_file_is_fetched_once_and_verified(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        place = fetch("good", [server.url], MD5, tmp_path / "to")
        assert place.read_bytes() == BODY
    assert server.asked == ["/good"]
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [".lock", "good"]


@pytest.mark.parametrize("cut", [0, 1, 70_000, len(BODY) - 1])
def test_a_cut_download_is_never_taken_for_the_file(server: Server, tmp_path: Path, cut: int) -> None:
    server.cut["/good"] = cut
    with pytest.raises(DataError, match=f"put it at {tmp_path}/to/good"):
        fetch("good", [server.url], MD5, tmp_path / "to")
    assert [path.name for path in (tmp_path / "to").iterdir()] == [".lock"]


def test_the_next_mirror_is_tried(server: Server, tmp_path: Path) -> None:
    mirrors = ["http://127.0.0.1:1/", server.url + "nothing-here/", server.url]
    assert fetch("good", mirrors, MD5, tmp_path).read_bytes() == BODY


def test_a_wrong_hash_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another MD5"):
        fetch("wrong", [server.url], MD5, tmp_path)


def test_several_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(fetch("good", [server.url], MD5, tmp_path).read_bytes()))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == [BODY] * 6
    assert server.asked == ["/good"]


def test_mnist_is_fetched_into_the_cache(
    server: Server, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic.mnist(tmp_path / "source")
    files = {path.name: path.read_bytes() for path in (tmp_path / "source" / "MNIST" / "raw").iterdir()}
    server.files = {f"/{name}": data for name, data in files.items()}
    monkeypatch.setattr(MNIST, "mirrors", (server.url,))
    monkeypatch.setattr(MNIST, "md5", {name: hashlib.md5(files[name]).hexdigest() for name in MNIST.md5})
    MNIST(valid=10).check()
    assert MNIST(valid=10).open(torch.device("cpu")).shape == (1, 28, 28)
    assert len(server.asked) == 4
    assert (fresh / "data" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").is_file()


def test_without_a_network_it_says_what_to_put_where(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", ("http://127.0.0.1:1/",))
    place = fresh / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    with pytest.raises(DataError, match=f"cannot be downloaded.*put it at {place}") as caught:
        MNIST().check()
    assert "\n" not in str(caught.value)


def test_a_root_that_was_named_is_the_only_one(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", (server.url,))
    with pytest.raises(DataError, match=r"key dataset\.root"):
        MNIST(root=str(tmp_path)).check()
    assert server.asked == []

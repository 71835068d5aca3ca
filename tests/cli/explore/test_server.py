"""The server answers its own page only."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from genlab.cli import main
from genlab.cli.explore.page import served_files
from genlab.cli.explore.server import LIMIT, Server
from genlab.cli.explore.session import Session
from genlab.errors import ConfigError
from tests.support.untrained import loaded_run


def answer(action: str, request: dict[str, Any]) -> dict[str, Any]:
    if action == "refuse":
        raise ConfigError("not so", "here", "otherwise")
    if action == "break":
        raise ZeroDivisionError("broken")
    return {"action": action, **request}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    described = Session(loaded_run("vae")).described | {"title": "</script><img src=x>", "folder": "<b>"}
    with Server(answer, served_files(described)) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(
    server: Server, method: str, name: str, body: bytes | None = None, token: str | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    usual = {"Content-Type": "application/json"} if method == "POST" else {}
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request(method, f"/{token or server.token}/{name}", body, {**usual, **given})
    response = connection.getresponse()
    found = response.status, response.headers, response.read()
    connection.close()
    return found


def post(server: Server, name: str, body: bytes = b"{}", **headers: Any) -> tuple[int, dict[str, Any]]:
    status, _, content = ask(server, "POST", name, body, **headers)
    return status, json.loads(content)


def test_it_listens_on_the_loopback_address_only(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert len(server.token) >= 32


def test_the_page_and_its_files_come_with_a_policy(server: Server) -> None:
    for name, kind in (("", "text/html"), ("page.css", "text/css"), ("page.js", "text/javascript")):
        status, headers, content = ask(server, "GET", name)
        assert (status, headers.get_content_type()) == (200, kind)
        assert len(content) == int(headers["Content-Length"]) > 100
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["Referrer-Policy"] == "no-referrer"
    assert ask(server, "GET", "session.py")[0] == 404
    assert ask(server, "GET", "../server.py")[0] == 404


def test_text_of_a_run_is_escaped(server: Server) -> None:
    page = ask(server, "GET", "")[2].decode()
    assert "<img src=x>" not in page
    assert "<b>" not in page
    assert "&lt;/script&gt;&lt;img src=x&gt;" in page
    start = page.index('id="run">') + len('id="run">')
    assert json.loads(page[start : page.index("</script>", start)])["title"] == "</script><img src=x>"


def test_requests_are_answered(server: Server) -> None:
    assert post(server, "decode", b'{"n": 3}') == (200, {"action": "decode", "n": 3})
    assert post(server, "refuse") == (400, {"error": "not so; here; otherwise"})
    assert post(server, "break") == (500, {"error": "ZeroDivisionError: broken"})


def test_another_token_is_refused(server: Server) -> None:
    for token in ("x", server.token[:-1], server.token + "x", "%C3%A9"):
        assert ask(server, "GET", "", token=token)[0] == 403
        assert post(server, "decode", token=token)[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_host_name_is_refused(server: Server, host: str) -> None:
    name = host.format(port=server.server_port)
    assert ask(server, "GET", "", Host=name)[0] == 403
    assert post(server, "decode", Host=name)[0] == 403


def test_another_origin_is_refused(server: Server) -> None:
    assert post(server, "decode", Origin="http://evil.example")[0] == 403
    assert post(server, "decode", Origin="null")[0] == 403
    assert post(server, "decode", Origin=f"http://127.0.0.1:{server.server_port}")[0] == 200


def test_a_body_must_be_small_json(server: Server) -> None:
    assert post(server, "decode", b"", Content_Length=str(LIMIT + 1))[0] == 413
    assert post(server, "decode", b"", Content_Length="9" * 5000)[0] == 413
    assert post(server, "decode", b"", Content_Length="-1")[0] == 411
    assert post(server, "decode", b"{}", Content_Type="text/plain")[0] == 415
    for body in (b"", b"[]", b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"[" * 10_000, b"\xff"):
        assert post(server, "decode", body)[0] == 400, body


def test_other_methods_are_refused(server: Server) -> None:
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert ask(server, method, "")[0] == 501


def test_a_browser_that_goes_away_is_not_reported(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)) as half:
        half.sendall(b"POST / HTTP/1.1\r\n")
    assert post(server, "decode")[0] == 200
    assert capsys.readouterr() == ("", "")


def test_a_taken_port_is_said_in_one_line(server: Server) -> None:
    with pytest.raises(ConfigError, match=f"port={server.server_port}"):
        Server(answer, {}, server.server_port)


def test_the_command_serves_the_page_of_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["model=vae", "model.network.hidden=[8]", "trainer.steps=2", "evaluator=none", "logger=quiet"]
    assert main.main(["train", *small, "hydra.run.dir=run"]) == 0
    found = []

    def once(server: Server) -> None:
        found.append(server.answer("decode", {"codes": [[0.0] * 8]})["n"])

    monkeypatch.setattr(Server, "serve_forever", once)
    capsys.readouterr()
    assert main.main(["explore", "run", "open=false"]) == 0
    assert found == [1]
    assert "  http://127.0.0.1:" in capsys.readouterr().out

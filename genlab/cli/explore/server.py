"""A server for one person on this machine.

It listens on the loopback address only. The path of every address starts with a secret token, so that other users of
the machine and other pages in the browser cannot ask for anything, and the header Host must be the server's own:
otherwise a page of a stranger could reach it under a name that resolves to 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

import hmac
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from genlab.errors import ConfigError, GenlabError
from genlab.utils.files import dump_json, parse_json
from genlab.utils.terminal import say

HOST = "127.0.0.1"
LIMIT = 4 * 2**20  # bytes of a request: the pixels of an image, or a few hundred codes
PATIENCE = 60  # seconds that a silent connection is kept
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Answer = Callable[[str, dict[str, Any]], dict[str, Any]]  # (action, request) -> reply, both JSON


class File(NamedTuple):
    kind: str  # its media type
    content: bytes


class Server(ThreadingHTTPServer):
    """Serves `files` by name ("" is the page), and `answer` to POST requests, one at a time."""

    daemon_threads = True  # Ctrl-C does not wait for the browser's open connections

    def __init__(self, answer: Answer, files: Mapping[str, File], port: int = 0) -> None:
        self.files, self.token = files, secrets.token_urlsafe(24)
        self._answer, self._lock = answer, threading.Lock()
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            hint = "give another, or leave it out"
            raise ConfigError(f"the port cannot be used ({error.strerror})", f"key port={port}", hint) from None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def answer(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            return self._answer(action, request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closed its connection is not an error."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            say(f"warning: a request failed: {type(error).__name__}: {error}")


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "genlab", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        name = self._name()
        if name is None:
            return
        file = self.server.files.get(name)
        if file is None:
            self._refuse(HTTPStatus.NOT_FOUND, "no such file")
        else:
            self._send(HTTPStatus.OK, file)

    def do_POST(self) -> None:
        name = self._name()
        if name is None:
            return
        request = self._request()
        if request is None:
            return
        try:
            self._json(HTTPStatus.OK, self.server.answer(name, request))
        except GenlabError as error:
            self._json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except ConnectionError:
            raise
        except Exception as error:  # of the model: shown on the page, which stays usable
            said = " ".join(str(error).split())[:300]
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"{type(error).__name__}: {said}"})

    def _name(self) -> str | None:
        """What follows the token in the path; None if the request was refused."""
        own = {f"{host}:{self.server.server_port}" for host in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in own or origin not in (None, *(f"http://{host}" for host in own)):
            self._refuse(HTTPStatus.FORBIDDEN, "another host's name")
            return None
        token, _, name = self.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "not the address that genlab explore printed")
            return None
        return name

    def _request(self) -> dict[str, Any] | None:
        """The JSON object of the body; None if the request was refused."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a request needs its length")
        elif len(length) > 12 or int(length) > LIMIT:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {LIMIT} bytes")
        elif self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a request is JSON")
        else:
            try:
                found = parse_json(self.rfile.read(int(length)))
            except ValueError:
                found = None
            if isinstance(found, dict):
                return found
            self._refuse(HTTPStatus.BAD_REQUEST, "a request is a JSON object")
        return None

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # a body may be left unread
        self._json(status, {"error": why})

    def _json(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        self._send(status, File("application/json", dump_json(value, indent=None)))

    def _send(self, status: HTTPStatus, file: File) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", file.kind)
        self.send_header("Content-Length", str(len(file.content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(file.content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: they hold the token."""

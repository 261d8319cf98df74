"""A door before the API, which loses what it is told to lose."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def door(port: int, script: list[str]) -> Iterator[int]:
    """A port in front of another one. Connection by connection it does what the script says:

    `connection` closes it, `answer` passes the request and closes before the answer, `busy` says
    503, and `through`, as all that come later, passes both.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, port, script))
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert not script


def _serve(listener: socket.socket, port: int, script: list[str]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # it was shut down
            return
        with connection:
            _pass(connection, port, script.pop(0) if script else "through")


def _pass(connection: socket.socket, port: int, how: str) -> None:
    if how == "connection":
        return
    request = _whole_request(connection)
    if how == "busy":
        body = json.dumps({"code": "service_unavailable", "message": "later"}).encode()
        head = f"HTTP/1.1 503 x\r\nRetry-After: 1\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        return
    with socket.create_connection(("127.0.0.1", port)) as behind:
        behind.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        while piece := behind.recv(65536):
            if how == "through":
                connection.sendall(piece)


def _whole_request(connection: socket.socket) -> bytes:
    seen = b""
    while True:
        seen += connection.recv(65536)
        head, end, body = seen.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and len(body) >= (int(length[1]) if length else 0):
            return seen

"""The command of a replica under test: a few words for what apps do, then the test's own lines.

Run as `python -I -S app.py LINES`; plain sockets, so that it starts fast and decides every byte.
"""

import os
import signal
import socket
import sys
import time

PORT = int(os.environ["PORT"])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def listen(host: str = "127.0.0.1", port: int = PORT) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, port))
    server.listen()
    return server


def read_head(conn: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(65536)
        if not more:
            break
        data += more
    return data


def read_request(conn: socket.socket) -> bytes:
    data = read_head(conn)
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    parts, left = [data], size - len(body)
    while left > 0:
        parts.append(conn.recv(min(left, 1 << 20)))
        left -= len(parts[-1])
    return b"".join(parts)


def answer_health(server: socket.socket, answer: bytes = OK) -> bytes:
    conn, _ = server.accept()
    asked = read_head(conn)
    conn.sendall(answer)
    conn.close()
    return asked


def answer_health_and_shut(server: socket.socket) -> None:
    """Nobody can get in between the answer and the end of listening."""
    conn, _ = server.accept()
    read_head(conn)
    server.close()
    conn.sendall(OK)
    conn.close()


def await_request(server: socket.socket) -> socket.socket:
    """The connection of the request, which is there to be read; answers all polls before it."""
    while True:
        conn, _ = server.accept()
        if conn.recv(4, socket.MSG_PEEK) == b"POST":
            return conn
        read_head(conn)
        conn.sendall(OK)  # into the void, where the poll was given up
        conn.close()


def take_job(host: str = "127.0.0.1") -> socket.socket:
    """Healthy at once; the connection that the request came over, with the request read."""
    server = listen(host)
    answer_health(server)
    conn, _ = server.accept()
    read_request(conn)
    return conn


def say(name: str, text: str = "") -> None:
    """Leaves a file in the working directory, whole or not at all."""
    with open(name + ".draft", "w") as file:
        file.write(text)
    os.rename(name + ".draft", name)


def on(number: int, action: object) -> None:
    signal.signal(number, action)  # type: ignore[arg-type]


def forever() -> None:
    while True:
        # A signal that comes just before a sleep begins has its handler called only after it.
        time.sleep(0.02)


exec(sys.argv[1])

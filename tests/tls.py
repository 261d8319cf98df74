"""A Redis that speaks TLS alone, with a certificate of our own authority, and asks for a password;
and what its clients need.
"""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

from tests.conftest import require
from tests.redis_server import RedisServer

PASSWORD = "a/b?c&d#e@f:g%h"  # in a URL nothing of it may stand as it is
_DAYS = "2"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority and its first two certificates: `server` and `client`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._new("ca")
        signed = ["-CA", self.file("ca.pem"), "-CAkey", self.file("ca.key")]
        for name in ("server", "client"):
            self._new(name, *signed, "-addext", "subjectAltName=IP:127.0.0.1")

    def file(self, name: str) -> str:
        """The path of `ca.pem`, `server.key` and the like."""
        return str(self._folder / name)

    def _new(self, name: str, *signed: str) -> None:
        made = ["-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.pem")]
        argv = ["openssl", "req", "-x509", *_KEY, *made, "-days", _DAYS, "-subj", f"/CN={name}"]
        subprocess.run([*argv, *signed], check=True, capture_output=True)


class TlsServer(RedisServer):
    """One that asks for its clients' certificates as well where `mutual` says so."""

    mutual = False

    @property
    def authority(self) -> Authority:
        """Who has signed its certificate. Made once, beside its data."""
        if not hasattr(self, "_authority"):
            self._authority = Authority(self.folder / "tls")
        return self._authority

    @property
    def binary(self) -> str:
        """The machine's own: the embedded one is built without TLS."""
        return _server()

    @property
    def bare_url(self) -> str:
        """The first database's, without a word about certificates."""
        return f"rediss://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/0"

    @property
    def url(self) -> str:
        """The first database's, with all that a client needs."""
        file = self.authority.file
        shown = f"&ssl_certfile={file('client.pem')}&ssl_keyfile={file('client.key')}"
        trusted = f"?ssl_ca_certs={file('ca.pem')}&ssl_cert_reqs=required"
        return self.bare_url + trusted + (shown if self.mutual else "")

    def options(self) -> dict[str, str]:
        """Its configuration."""
        file = self.authority.file
        tls = {
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": file("server.pem"),
            "tls-key-file": file("server.key"),
            "tls-ca-cert-file": file("ca.pem"),
            "tls-auth-clients": "yes" if self.mutual else "no",
            "requirepass": PASSWORD,
        }
        return super().options() | tls


class MutualTlsServer(TlsServer):
    """One that asks for its clients' certificates."""

    mutual = True


def require_tls() -> None:
    """Skips the test, or fails it where CI is set, unless such a server can be made here."""
    require(shutil.which("openssl"), "openssl is not installed")
    require(shutil.which("redis-server"), "redis-server is not installed")
    # It stops at the first option that it does not know, and at a folder that is not there.
    argv = [_server(), "--tls-ciphers", "x", "--dir", "/nowhere"]
    said = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    require("tls-ciphers" not in said.stdout + said.stderr, "redis-server is built without TLS")


def _server() -> str:
    return shutil.which("redis-server") or "redis-server"

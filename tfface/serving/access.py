"""Headers and certificates of requests: how a client and a server prove who they are."""

import ipaddress
import os
import re
import ssl
import urllib.parse
from collections.abc import Mapping

from tfface import files
from tfface.serving.errors import quote

_MAX_TOKEN_BYTES, _MAX_CA_BYTES = 1 << 16, 1 << 22
# Narrower than HTTP allows, so that gRPC takes every name too.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_TOKEN = re.compile(r"[\x21-\x7e]+")
# The protocols set these themselves.
_RESERVED = {"host", "connection", "content-length", "content-type", "te", "transfer-encoding", "upgrade", "user-agent"}


class Access:
    """Headers and certificates of the requests to one server. Header values are secrets, which no message shows.

    Args:
      server: address of the server, with the scheme http, https, grpc or grpcs.
      headers: mapping from name to value.
      token: str that is sent as `Authorization: Bearer TOKEN`.
      ca_file: PEM file of the certificate authorities to trust; default: those of the system.
      insecure_token: bool, whether headers and token may go to another host without encryption.

    Attributes:
      headers: dict from name to value, with that of the token.
      ca: bytes, content of `ca_file`, or None.

    Raises:
      ValueError: a header, the token or the file is malformed, or they do not fit the address. No message
        holds a value.
      OSError: the file cannot be read.
    """

    def __init__(
        self,
        server: str,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        ca_file: str | os.PathLike | None = None,
        insecure_token: bool = False,
    ) -> None:
        url = urllib.parse.urlsplit(server)
        encrypted = url.scheme in ("https", "grpcs")
        self.headers = _checked(headers or {}, token)
        if self.headers and not (encrypted or insecure_token or _is_loopback(url.hostname)):
            raise ValueError(
                f"a token or header would reach {url.hostname} without encryption: use https:// or grpcs://, or set "
                "insecure_token if the network is trusted."
            )
        if ca_file is not None and not encrypted:
            raise ValueError(f"`ca_file` needs https:// or grpcs://, got {url.scheme}://.")
        self.ca = None if ca_file is None else _certificates(ca_file)

    def __repr__(self):
        return f"Access(headers {sorted(self.headers)}, {'own' if self.ca else 'usual'} certificate authorities)"

    def tls(self) -> ssl.SSLContext:
        """Returns the `ssl.SSLContext` for the server."""
        return ssl.create_default_context(cadata=self.ca and self.ca.decode())

    def quote(self, message: str) -> str:
        """Quotes a server's message as `errors.quote` does, with any secret in it masked."""
        for value in sorted(self.headers.values(), key=len, reverse=True):
            for secret in (value, value.removeprefix("Bearer ")):
                message = message.replace(secret, "***")
        return quote(message)


def read_token(path: str | os.PathLike) -> str:
    """Reads a token from a file.

    Args:
      path: file of at most 64 KB; white space around the token is removed.

    Raises:
      ValueError: the file is not regular, or larger.
      OSError: the file cannot be read.
    """
    return files.read_regular(path, _MAX_TOKEN_BYTES).decode("latin-1").strip()


def without_secrets(server: str) -> str:
    """Returns a server's address without the parts that may hold secrets: user, password, query and fragment."""
    address = re.split(r"[?#]", server)[0]
    return f"...@{address.rpartition('@')[2]}" if "@" in server else address


def _checked(headers, token):
    # No message shows a malformed name, because it may be a value in the wrong argument.
    if not isinstance(headers, Mapping):
        raise ValueError(f"`headers` must be a mapping from name to value, got {type(headers).__name__}.")
    made = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError("the name of a header must consist of letters, digits, '-', '_' and '.'; one does not.")
        if name.lower() in _RESERVED or name.lower().startswith("grpc-") or name.lower().endswith("-bin"):
            raise ValueError(f"the header {name!r} belongs to the protocol and cannot be set.")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ValueError(f"the value of header {name!r} must be a line of printable ASCII characters; it is not.")
        if name.lower() in map(str.lower, made):
            raise ValueError(f"the header {name!r} is given twice.")
        made[name] = value
    if token is not None:
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise ValueError("a token must consist of printable ASCII characters without spaces; this one does not.")
        if "authorization" in map(str.lower, made):
            raise ValueError("the header 'Authorization' and a token exclude each other, got both.")
        made["Authorization"] = f"Bearer {token}"
    return made


def _is_loopback(host):
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _certificates(path):
    content = files.read_regular(path, _MAX_CA_BYTES)
    try:
        if ssl.create_default_context(cadata=content.decode("ascii")).cert_store_stats()["x509"]:
            return content
        reason = "it holds none"
    except (ValueError, ssl.SSLError) as error:
        reason = str(error)
    raise ValueError(f"{str(path)!r} is not a PEM file of certificates ({reason}).")

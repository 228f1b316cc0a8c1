"""Errors between client and server, and quotation of a server's messages."""

import re

_LONGEST = 300


class ServerError(ValueError):
    """A server cannot be reached, or its answer cannot be used."""


class Unavailable(ServerError):
    """A server does not answer now but may do so in a moment; only after this error is a request retried."""


class Refused(ServerError):
    """A server refuses the images or landmarks of a request."""


def quote(message: str) -> str:
    """Returns the one printable line of a server's message that gives the reason.

    Args:
      message: str of any length and content.
    """
    # TensorFlow encloses the reason in graph nodes: {{function_node ...}} before it and [[...]] after it.
    text = re.sub(r"\{\{.{0,400}?\}\}|\[\[.{0,4000}?\]\]", " ", message[:20_000], flags=re.DOTALL)
    line = next((stripped for line in text.splitlines() if (stripped := line.strip())), "no reason given")
    line = re.sub(r"^assertion failed: \[([^\]]*)\]", r"\1", line)
    line = "".join(character if character.isprintable() else " " for character in line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."

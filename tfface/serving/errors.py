"""What can go wrong between client and server, and how a server's words are quoted."""

import re

_LONGEST = 300


class ServerError(ValueError):
    """A server cannot be reached, or its answer cannot be used."""


class Unavailable(ServerError):
    """A server does not answer now, but may do so in a moment: the only error after which a request is repeated."""


class Refused(ServerError):
    """A server finds fault with the images or landmarks of a request."""


def quote(message):
    """Returns the one printable line of a server's message that says what was wrong.

    Args:
      message: str, of any length and content.
    """
    # TensorFlow adds where in its graph, as {{function_node ...}} in front and [[...]] behind.
    text = re.sub(r"\{\{.{0,400}?\}\}|\[\[.{0,4000}?\]\]", " ", message[:20_000], flags=re.DOTALL)
    line = next((stripped for line in text.splitlines() if (stripped := line.strip())), "no reason given")
    line = re.sub(r"^assertion failed: \[([^\]]*)\]", r"\1", line)
    line = "".join(character if character.isprintable() else " " for character in line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."

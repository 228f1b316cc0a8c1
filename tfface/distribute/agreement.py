"""Workers find each other and agree on what they train, before TensorFlow connects them.

TensorFlow waits for a missing worker in silence and for ever, and does not notice workers with different settings. So
the chief first listens at its own address of the cluster. Each message is a line of JSON: the chief greets, a worker
describes itself, and the chief says who is still awaited and, in the end, that all agree or what differs.
"""

import contextlib
import json
import os
import pathlib
import secrets
import socket
import time
import typing

from tfface import progress
from tfface.distribute.cluster import Cluster

_PROTOCOL = 1
_MAX_LINE = 1 << 20
_SHOWN = 5

_POLL_SECONDS = 0.5
_NOTE_SECONDS = 30.0
_ANSWER_SECONDS = 10.0
# For so long a chief that failed tells arriving workers why.
_FAILURE_SECONDS = 30.0

Describe = typing.Callable[[], dict[str, typing.Any]]


def agree(cluster: Cluster, describe: Describe, folder: str | os.PathLike, wait: float) -> None:
    """Returns when all workers have come and their descriptions agree.

    Args:
      cluster: `Cluster`.
      describe: function () -> dict from the names that messages use to JSON values. A ValueError or OSError of it on
        one worker ends all workers with that reason.
      folder: folder of the run; all workers must see the same one. The chief's `describe` has made it.
      wait: seconds to wait for missing workers.

    Raises:
      ValueError: a worker did not come, failed, does not see the folder, or differs; the message says which and how.
    """
    try:
        own = {"facts": describe(), "failure": None}
    except (ValueError, OSError) as error:
        own = {"facts": {}, "failure": str(error)}
    # The others receive tuples as lists.
    own = json.loads(json.dumps(own, default=str))
    verdict = (_lead if cluster.is_chief else _follow)(cluster, own, pathlib.Path(folder), wait)
    if verdict:
        raise ValueError(verdict)


def _lead(cluster, own, folder, wait):
    """Collects the descriptions and tells the workers the verdict; returns it: "" or what is wrong."""
    answers, connections, deadline = {0: own}, {}, time.monotonic() + wait
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(cluster))
        listener.settimeout(_POLL_SECONDS)
        # A chief that failed may have no folder; its workers will be told why.
        token = stack.enter_context(_token(folder)) if own["failure"] is None else ""
        noted, failed = time.monotonic(), False
        while len(answers) < len(cluster.addresses) and (now := time.monotonic()) < deadline:
            if not failed and any(answer["failure"] for answer in answers.values()):
                failed, deadline = True, min(deadline, now + _FAILURE_SECONDS)
            if now - noted >= _NOTE_SECONDS:
                noted = now
                awaited = _awaited(cluster, answers)
                progress.note(f"{cluster.name(0)} is waiting for {awaited}")
                for connection in connections.values():
                    _send(connection, {"awaited": awaited})
            with contextlib.suppress(TimeoutError):
                connection = stack.enter_context(listener.accept()[0])
                index, answer = _meet(connection, token, len(cluster.addresses))
                if index is not None:
                    answers[index], connections[index] = answer, connection
        verdict = _verdict(cluster, answers, wait)
        for connection in connections.values():
            _send(connection, {"verdict": verdict})
        for connection in connections.values():
            # The other side closes first, so that the address is free again at once.
            _receive(connection)
    return verdict


def _follow(cluster, own, folder, wait):
    """Describes itself to the chief; returns the chief's verdict."""
    _listen(cluster).close()
    noted = time.monotonic()
    deadline = noted + wait
    host, _, port = cluster.addresses[0].rpartition(":")
    address = host.strip("[]"), int(port)
    while (now := time.monotonic()) < deadline:
        if now - noted >= _NOTE_SECONDS:
            noted = now
            progress.note(f"{cluster.name(cluster.index)} is waiting for {cluster.name(0)}")
        with contextlib.suppress(OSError), socket.create_connection(address, _ANSWER_SECONDS) as chief:
            chief.settimeout(_ANSWER_SECONDS)
            greeting = _receive(chief)
            if greeting.get("tfface") == _PROTOCOL:
                token = str(greeting.get("token"))
                sees = not token or (folder / os.path.basename(token)).exists()
                _send(chief, {"index": cluster.index, "sees": sees, **own})
                chief.settimeout(2 * _NOTE_SECONDS)
                while message := _receive(chief):
                    if "verdict" in message:
                        return str(message["verdict"])
                    noted = time.monotonic()
                    progress.note(f"{cluster.name(cluster.index)} is waiting for {message.get('awaited')}")
        time.sleep(_POLL_SECONDS)
    return f"{cluster.name(0)} did not come within {wait:g} s (--wait_for_workers)."


def _meet(connection, token, workers):
    """Greets a new connection; returns (index, answer), or (None, None) unless it is a worker of this training."""
    connection.settimeout(_ANSWER_SECONDS)
    _send(connection, {"tfface": _PROTOCOL, "token": token})
    answer = _receive(connection)
    index = answer.get("index")
    valid = isinstance(index, int) and 0 < index < workers and isinstance(answer.get("facts"), dict)
    return (index, answer) if valid and "failure" in answer else (None, None)


def _verdict(cluster, answers, wait):
    failures = [f"{cluster.name(index)}: {answer['failure']}" for index, answer in answers.items() if answer["failure"]]
    if failures:
        return "; ".join(sorted(failures))
    if len(answers) < len(cluster.addresses):
        return f"{_awaited(cluster, answers)} did not come within {wait:g} s (--wait_for_workers)."
    chief = cluster.name(0)
    blind = [cluster.name(index) for index, answer in answers.items() if not answer.get("sees", True)]
    if blind:
        return f"{blind[0]} does not see the run folder of {chief}: all workers need the same one."
    expected, differences = answers[0]["facts"], []
    for index in sorted(answers):
        facts = answers[index]["facts"]
        differences += [
            f"{name} is {_short(expected.get(name))} on {chief} and {_short(facts.get(name))} on {cluster.name(index)}"
            for name in sorted({*expected, *facts})
            if expected.get(name) != facts.get(name)
        ]
    if not differences:
        return ""
    more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    return f"workers do not train the same: {'; '.join(differences[:_SHOWN])}{more}."


def _short(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _awaited(cluster, answers):
    return ", ".join(cluster.name(index) for index in range(len(cluster.addresses)) if index not in answers)


def _listen(cluster):
    port = int(cluster.addresses[cluster.index].rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both, backlog=1024
        )
    except OSError as error:
        raise ValueError(
            f"{cluster.name(cluster.index)} cannot use its port: {os.strerror(error.errno) if error.errno else error}. "
            "A training that has not ended may have it."
        ) from None


@contextlib.contextmanager
def _token(folder):
    """Makes a file of a random name in the run folder; a worker that finds it sees the same folder."""
    name = f".workers-{secrets.token_hex(8)}"
    path = folder / name
    path.touch()
    try:
        yield name
    finally:
        path.unlink(missing_ok=True)


def _send(connection, message):
    # A worker that is gone connects again, or is reported as missing.
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection):
    """Returns the next line as a dict, {} if there is none."""
    line = bytearray()
    try:
        while not line.endswith(b"\n") and len(line) < _MAX_LINE and (byte := connection.recv(1)):
            line += byte
        message = json.loads(line)
    except (OSError, ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}

"""The processes that train together, as the environment variable TF_CONFIG lists them."""

import dataclasses
import os

from tfface import json_files
from tfface.json_files import COUNT, Optional

_FORM = {
    "cluster": {Optional("chief"): [str], Optional("worker"): [str], ...: object},
    "task": {"type": str, "index": COUNT, ...: object},
    ...: object,
}


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers that train together.

    Args:
      addresses: "host:port" of each worker; the first is the chief, which writes what only one should.
      index: int, index of this process.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def name(self, index: int) -> str:
        """Returns the name of a worker in messages."""
        return f"worker {index} ({self.addresses[index]})"


def read_cluster() -> Cluster:
    """Reads TF_CONFIG.

    Raises:
      ValueError: it is missing or malformed.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json_files.parse(text.encode(errors="surrogateescape"), "TF_CONFIG", _FORM)
        chiefs, workers = (config["cluster"].get(kind, []) for kind in ("chief", "worker"))
        kind, index = config["task"]["type"], config["task"]["index"]
        of_kind = {"chief": chiefs, "worker": workers}.get(kind, [])
        if index >= len(of_kind):
            raise ValueError(f"task {kind} {index} is not in the cluster.")
        wrong = [address for address in chiefs + workers if not _is_address(address)]
        if wrong:
            raise ValueError(f"expected addresses host:port, got {wrong[0]!r}.")
    except ValueError as error:
        raise ValueError(
            "strategy 'multiworker' needs the environment variable TF_CONFIG, such as "
            '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}; '
            f"got {text[:1000]!r}: {error}"
        ) from None
    return Cluster((*chiefs, *workers), index + (len(chiefs) if kind == "worker" else 0))


def _is_address(text):
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65536

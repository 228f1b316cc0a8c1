"""The processes that train together, as the environment variable TF_CONFIG lists them."""

import dataclasses
import json
import os


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Workers of one training.

    Args:
      addresses: "host:port" of each worker; the first is the chief, which writes what only one should.
      index: int, which of them this process is.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def name(self, index: int) -> str:
        """Returns how messages name a worker."""
        return f"worker {index} ({self.addresses[index]})"


def read_cluster() -> Cluster:
    """Reads TF_CONFIG.

    Raises:
      ValueError: it is missing or malformed.
    """
    text = os.environ.get("TF_CONFIG")
    try:
        config = json.loads(text or "")
        by_kind = {kind: config["cluster"][kind] for kind in ("chief", "worker") if kind in config["cluster"]}
        addresses = tuple(address for kind in by_kind for address in by_kind[kind])
        kind, index = config["task"]["type"], config["task"]["index"]
        known = isinstance(index, int) and 0 <= index < len(by_kind.get(kind, ()))
        if known and all(isinstance(address, str) and _is_address(address) for address in addresses):
            return Cluster(addresses, index + (len(by_kind["chief"]) if kind == "worker" and "chief" in by_kind else 0))
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise ValueError(
        "strategy 'multiworker' needs the environment variable TF_CONFIG, such as "
        '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}; '
        f"got {text!r}."
    )


def _is_address(text):
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65536

"""Image files sent to a server, with results by file name."""

import collections
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tfface import progress
from tfface.serving.client import Client, Comparison
from tfface.serving.errors import Refused


def embed_files(
    client: Client,
    keys: Sequence[str],
    read: Callable[[str], bytes],
    landmarks: Mapping[str, Sequence[float]] | None = None,
) -> tuple[np.ndarray, list[str], dict[str, str]]:
    """Embeds files, with a progress bar; files that cannot be read or decoded are listed instead.

    Args:
      client: a `Client`.
      keys: list of N strings, the files' names.
      read: function from a key to the bytes of its file, which may raise ValueError or OSError.
      landmarks: for photographs, dict from key to x1, y1, ..., x5, y5 in pixels; default: the faces are aligned.

    Returns:
      (vectors float32 [M, D], their M keys, dict from every other key to the reason).

    Raises:
      ServerError: there is no answer, or it fails a check.
    """
    dim = client.metadata().embedding_dim  # Asked first, so that no progress bar appears if the server is absent.
    vectors, kept, bad, sent = [], [], {}, collections.deque()
    signature = "serving_default" if landmarks is None else "detect_free_align"
    with progress.bar(total=len(keys), desc="embed", unit=" images") as bar:

        def rows():
            for key in keys:
                try:
                    if landmarks is not None and key not in landmarks:
                        raise ValueError("no landmarks")
                    data = read(key)
                except (ValueError, OSError) as error:
                    bad[key] = getattr(error, "strerror", None) or str(error)
                    bar.update()
                else:
                    sent.append(key)
                    yield (data,) if landmarks is None else (data, np.reshape(landmarks[key], (5, 2)))

        for result in client.embed_each(rows(), signature):
            key = sent.popleft()
            if isinstance(result, Refused):
                bad[key] = str(result)
            else:
                vectors.append(result)
                kept.append(key)
            bar.update()
    return (np.stack(vectors) if vectors else np.zeros([0, dim or 0], np.float32)), kept, bad


def compare_files(client: Client, first: str, second: str, read: Callable[[str], bytes]) -> Comparison:
    """Compares the aligned faces of two files.

    Args:
      client: a `Client`.
      first: str, name of a file.
      second: str, name of the other.
      read: function from a name to the bytes of its file.

    Returns:
      A `Comparison` of one pair.

    Raises:
      ValueError: a file cannot be used, and the message names it; or as in `Client.compare`.
      OSError: a file cannot be read.
    """
    images = {}
    for key in (first, second):
        try:
            images[key] = read(key)
        except ValueError as error:
            raise ValueError(f"{key}: {error}.") from None
    try:
        return client.compare([images[first]], [images[second]])
    except Refused:
        # The server does not say which of the two it refuses.
        for key, image in images.items():
            (result,) = client.embed_each([(image,)])
            if isinstance(result, Refused):
                raise Refused(f"{key}: {result}") from None
        raise

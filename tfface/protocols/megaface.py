"""MegaFace, challenge 1.

Reference:
  Kemelmacher-Shlizerman et al., The MegaFace Benchmark: 1 Million Faces for Recognition at Scale, CVPR 2016; Deng et
  al., ArcFace, CVPR 2019, section 3.3 (the refined version).
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from tfface import progress
from tfface.data.protocols.megaface_lists import DISTRACTOR_PARTS, PROBE_PARTS, find_noise, read_megaface_list
from tfface.evaluation.metrics.protocol_result import Curve, ProtocolResult, at, roc_curve
from tfface.evaluation.protocols.megaface import megaface_challenge
from tfface.protocols.base import Protocol
from tfface.protocols.images import Embedded, Images

_RANKS, _CMC, _FARS = (1, 10), 20, (1e-6,)


class MegaFace(Protocol):
    """MegaFace, challenge 1: rank-1 and TAR of FaceScrub's probes among up to a million distractors.

    Args:
      facescrub: folder of the aligned probes, `Aaron_Eckhart/Aaron_Eckhart_1.png`.
      distractors: folder of the aligned distractors, such as `375/37531198@N00/4174611825_0.jpg`.
      lists: folder with `facescrub_lst` and `megaface_lst`, or with the devkit's `facescrub_features_list.json` and
        `megaface_features_list.json_1000000_1`; for the refined version also with `facescrub_noises.txt` and
        `megaface_noises.txt`.
      refined: whether noisy images count as the published lists of noise say.
      noisy_probes: in the refined version, "drop" leaves noisy probes out; "hit" replaces each by the centre of its
        person's other probes, as the scripts published with ArcFace do, which makes hits of them.
      scale: int, number of distractors, which names the devkit's list.

    Raises:
      ValueError: a list is absent or malformed, or an argument is unknown.
    """

    def __init__(
        self,
        facescrub: str | os.PathLike,
        distractors: str | os.PathLike,
        lists: str | os.PathLike,
        refined: bool = False,
        noisy_probes: str = "drop",
        scale: int = 1_000_000,
    ):
        if noisy_probes not in ("drop", "hit"):
            raise ValueError(f"`noisy_probes` must be 'drop' or 'hit', got {noisy_probes!r}.")
        paths = [
            _present(lists, "facescrub_lst", "facescrub_features_list.json"),
            _present(lists, "megaface_lst", f"megaface_features_list.json_{scale}_1"),
        ]
        noise = [_present(lists, f"{name}_noises.txt") for name in ("facescrub", "megaface")] if refined else []
        super().__init__("MegaFace refined" if refined else "MegaFace", [*paths, *noise])
        self.places, self.noisy_probes = (facescrub, distractors), noisy_probes
        self._names = [
            _different(path, read_megaface_list(path, parts))
            for path, parts in zip(paths, (PROBE_PARTS, DISTRACTOR_PARTS), strict=True)
        ]
        self._noisy = [
            find_noise(names, noise[number]) if refined else np.zeros(len(names), bool)
            for number, names in enumerate(self._names)
        ]

    def images(self) -> list[Images]:
        """Returns the probes, then the distractors."""
        return [Images(place, names) for place, names in zip(self.places, self._names, strict=True)]

    def evaluate(self, embedded: Sequence[Embedded], folder: str | os.PathLike | None = None) -> ProtocolResult:
        """Searches each probe with each of its mates among the distractors."""
        vectors, noisy, names, completeness = [], [], [], []
        for number, noun in enumerate(("probes", "distractors")):
            rows, complete = embedded[number].find(self._names[number], noun)
            there = rows >= 0
            # A million distractors, as they are embedded, are not copied.
            whole = np.array_equal(rows, np.arange(len(embedded[number].keys)))
            vectors.append(embedded[number].vectors if whole else embedded[number].vectors[rows[there]])
            noisy.append(self._noisy[number][there])
            names.append([name for name, is_there in zip(self._names[number], there, strict=True) if is_there])
            completeness.append(complete)
        people = np.array([name.split("/")[0] for name in names[0]])
        probes, dropped = vectors[0], noisy[0]
        if self.noisy_probes == "hit":
            probes, dropped = _replace_noise(probes, people, noisy[0])
        result = megaface_challenge(
            probes,
            people,
            vectors[1],
            range(1, _CMC + 1),
            _FARS,
            np.flatnonzero(dropped).tolist(),
            np.flatnonzero(noisy[1]).tolist(),
            progress=progress.bar_of("search"),
        )
        rates = {f"rank-{rank}": result.rank_rates[rank] for rank in _RANKS}
        rates |= {f"TAR{at(far)}": point.tar for far, point in result.tar_at_far.items()}
        counts = {
            "probes": len(probes) - int(dropped.sum()),
            "distractors": len(vectors[1]) - int(noisy[1].sum()),
            "searches": result.searches,
            "noisy probes": int(noisy[0].sum()),
            "noisy distractors": int(noisy[1].sum()),
        }
        return ProtocolResult(
            self.name,
            rates,
            counts,
            {"noisy probes": {"drop": "left out", "hit": "at the centre of their person"}[self.noisy_probes]}
            if self.name.endswith("refined")
            else {},
            tuple(completeness),
            {
                "searches": Curve("CMC", list(range(1, _CMC + 1)), list(result.rank_rates.values())),
                "low FARs": roc_curve(result.genuine_scores, result.highest_impostors, result.impostors),
            },
        )


def _replace_noise(vectors, people, noisy):
    """Puts noisy probes at the centre of their person's clean ones; returns probes, and who has no clean one."""
    vectors, dropped = vectors.copy(), np.zeros(len(vectors), bool)
    for row in np.flatnonzero(noisy):
        clean = (people == people[row]) & ~noisy
        if clean.any():
            vectors[row] = vectors[clean].mean(axis=0)
        else:
            dropped[row] = True
    return vectors, dropped


def _present(folder, *names):
    for name in names:
        if os.path.isfile(path := pathlib.Path(folder) / name):
            return path
    raise ValueError(f"{folder} lacks {' or '.join(names)}.")


def _different(path, names):
    if len(set(names)) < len(names):
        raise ValueError(f"{path} lists {len(names) - len(set(names))} images twice.")
    if not names:
        raise ValueError(f"{path} is empty.")
    return names

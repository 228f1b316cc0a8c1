"""IARPA Janus Benchmarks B and C: templates, compared in pairs (1:1) and searched in galleries (1:N).

Reference:
  Whitelam et al., IARPA Janus Benchmark-B Face Dataset, CVPR Workshops 2017; Maze et al., IARPA Janus Benchmark-C, ICB
  2018.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from tfface.data.protocols.templates import (
    read_detected_faces,
    read_template_faces,
    read_template_pairs,
    read_template_subjects,
)
from tfface.evaluation.metrics.completeness import EXAMPLES, Completeness
from tfface.evaluation.metrics.protocol_result import Curve, ProtocolResult, at, det_curve, roc_curve
from tfface.evaluation.protocols.template_protocols import identify_templates, verify_templates
from tfface.evaluation.protocols.templates import Pooling
from tfface.protocols.base import Protocol
from tfface.protocols.images import Embedded, Images
from tfface.protocols.pooled import needs, pool

_FARS, _FPIRS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1), (1e-2, 1e-1)
_RANKS, _CMC = (1, 5, 10), 20


class IJB(Protocol):
    """IJB-B or IJB-C in InsightFace's release: loose crops, landmarks, templates, pairs, galleries and probes.

    Args:
      root: folder of the loose crops, `loose_crop`; the faces are aligned by the landmarks of the list.
      meta: folder of the lists: `ijbc_face_tid_mid.txt` (templates), `ijbc_name_5pts_score.txt` (landmarks and
        detection scores), `ijbc_template_pair_label.txt` (1:1), and for 1:N `ijbc_1N_gallery_G1.csv`,
        `ijbc_1N_gallery_G2.csv` (IJB-B: `S1`, `S2`) and `ijbc_1N_probe_mixed.csv`.
      kind: "B" or "C".
      pooling: how images become a template, a `Pooling`, such as `Pooling(flip="sum", length="raw")`.
      galleries: "averaged" searches the two galleries apart and reports the means, as the benchmarks define; "joint"
        searches one gallery of all people, as SphereFace2 counts. Then every probe has a mate, and TPIR is n/a.
      search: whether to measure 1:N too.

    Raises:
      ValueError: a list is malformed or names what another one lacks, a file is absent, or an argument is unknown.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        meta: str | os.PathLike,
        kind: str = "C",
        pooling: Pooling = Pooling(),  # noqa: B008 (it cannot be changed)
        galleries: str = "averaged",
        search: bool = True,
    ):
        for name, value, choices in (("kind", kind, ("B", "C")), ("galleries", galleries, ("averaged", "joint"))):
            if value not in choices:
                raise ValueError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}.")
        self.root, self.pooling, self.galleries = root, pooling, galleries
        start = pathlib.Path(meta) / f"ijb{kind.lower()}_"
        faces, landmarks, pairs, *searches = self._paths(start, search)
        super().__init__(f"IJB-{kind}", [faces, landmarks, pairs, *searches])

        self.faces, self.pairs = read_template_faces(faces), read_template_pairs(pairs)
        detected = read_detected_faces(landmarks)
        row = {name: number for number, name in enumerate(detected.names)}
        self._names = list(dict.fromkeys(self.faces.names))
        unknown = [name for name in self._names if name not in row]
        if unknown:
            raise ValueError(f"{landmarks} lacks {len(unknown)} of the faces of {faces}, such as {unknown[0]!r}.")
        self._landmarks = detected.landmarks[[row[name] for name in self._names]]
        self._detector = detected.score[[row[name] for name in self._names]]
        known = np.unique(self.faces.template)
        _check_listed(pairs, np.concatenate([self.pairs.left, self.pairs.right]), known, faces)
        subjects = []
        for path in searches:
            subjects.append(_read_subjects(path))
            _check_listed(path, subjects[-1][0], known, faces)
        *self._galleries, self._probes = subjects or [None]
        for path, (templates, _) in zip(searches[:-1], self._galleries, strict=True):
            both = np.intersect1d(templates, self._probes[0])
            if len(both):
                raise ValueError(f"{path} and {searches[-1]} share {len(both)} templates, such as {both[0]}.")

    @staticmethod
    def _paths(start, search):
        """Returns the paths of the lists: templates, landmarks, pairs, then two galleries and the probes."""
        names = ["face_tid_mid.txt", "name_5pts_score.txt", "template_pair_label.txt"]
        if search:
            letter = "S" if os.path.exists(f"{start}1N_gallery_S1.csv") else "G"
            names += [f"1N_gallery_{letter}1.csv", f"1N_gallery_{letter}2.csv", "1N_probe_mixed.csv"]
        paths = [f"{start}{name}" for name in names]
        absent = [os.path.basename(path) for path in paths if not os.path.isfile(path)]
        if absent:
            remedy = "; search=False does without 1:N" if all("1N" in name for name in absent) else ""
            raise ValueError(f"{start.parent} lacks {', '.join(absent)}{remedy}.")
        return paths

    def images(self) -> list[Images]:
        """Returns the faces, with their landmarks."""
        return [Images(self.root, self._names, self._landmarks, one_size=False, **needs(self.pooling))]

    def evaluate(self, embedded: Sequence[Embedded], folder: str | os.PathLike | None = None) -> ProtocolResult:
        """Measures 1:1 and, with `search`, 1:N."""
        (found,) = embedded
        rows, images = found.find(self._names)
        position = {name: number for number, name in enumerate(self._names)}
        face = np.array([position[name] for name in self.faces.names])
        there = rows[face] >= 0
        templates = pool(
            found,
            rows[face][there],
            self.faces.template[there],
            self.faces.medium[there],
            self._detector[face][there],
            self.pooling,
        )
        left, right, same = self.pairs
        whole = np.isin(left, templates.ids) & np.isin(right, templates.ids)
        absent = np.setdiff1d(self.faces.template, templates.ids)
        pairs = Completeness(len(whole), int(np.sum(~whole)), tuple(f"template {each}" for each in absent[:EXAMPLES]))
        verified = verify_templates(templates, left[whole], right[whole], same[whole], _FARS)
        rates = {f"TAR{at(far)}": point.tar for far, point in verified.tar_at_far.items()}
        counts = {"templates": len(templates.ids), "genuine pairs": verified.genuine, "impostors": verified.impostors}
        curves = {"1:1": roc_curve(verified.genuine_scores, verified.impostor_scores)}
        settings = {"pooling": templates.pooling}
        if self._galleries:
            searched = self._search(templates)
            rates |= {f"rank-{rank}": searched.rank_rates[rank] for rank in _RANKS}
            rates |= {f"TPIR{at(fpir)}": rate for fpir, rate in searched.tpir_at_fpir.items()}
            counts["mated probes"] = sum(each.mated for each in searched.galleries)
            counts["non-mated probes"] = sum(each.nonmated for each in searched.galleries)
            settings["galleries"] = self.galleries
            curves["1:N"] = Curve("CMC", list(range(1, _CMC + 1)), list(searched.rank_rates.values()))
            for number, each in enumerate(searched.galleries, start=1):
                curves[f"gallery {number}"] = det_curve(each.hit_scores, each.false_scores)
        return ProtocolResult(self.name, rates, counts, settings, (images, pairs), curves)

    def _search(self, templates):
        def available(subjects):
            kept = np.isin(subjects[0], templates.ids)
            return subjects[0][kept], subjects[1][kept]

        galleries = [available(gallery) for gallery in self._galleries]
        if self.galleries == "joint":
            galleries = [tuple(map(np.concatenate, zip(*galleries, strict=True)))]
        return identify_templates(templates, *available(self._probes), galleries, range(1, _CMC + 1), _FPIRS)


def _read_subjects(path):
    """Returns distinct templates and their subjects: the lists name a template once per image."""
    templates, subjects = np.unique(np.stack(read_template_subjects(path), axis=1), axis=0).T
    repeated = templates[1:][np.diff(templates) == 0]
    if len(repeated):
        raise ValueError(f"{path}: template {repeated[0]} has several subjects.")
    return templates, subjects


def _check_listed(path, templates, known, faces):
    unlisted = np.setdiff1d(templates, known)
    if len(unlisted):
        raise ValueError(
            f"{path} names {len(unlisted)} templates that {faces} does not list, such as {unlisted[0]}: are these "
            "lists of one set?"
        )

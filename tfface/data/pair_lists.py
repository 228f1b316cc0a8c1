"""Verification pairs: which two images are compared, and whether they show one person."""

import dataclasses
import itertools
import math
import os
import pathlib
import re

import numpy as np

# No published list comes near it (LFW View 2: 0.2 MB); a wrong file must not fill the memory.
_MAX_CHARACTERS = 64 << 20

_NAME, _NUMBER = r"([^\s/\\.][^\s/\\]*)", r"([1-9]\d{0,6})"
_LFW_HEADER = re.compile(rf"{_NUMBER}(?:\s+{_NUMBER})?", re.ASCII)
_LFW_GENUINE = re.compile(rf"{_NAME}\s+{_NUMBER}\s+{_NUMBER}", re.ASCII)
_LFW_IMPOSTOR = re.compile(rf"{_NAME}\s+{_NUMBER}\s+{_NAME}\s+{_NUMBER}", re.ASCII)
_CFP_IMAGE = re.compile(rf"{_NUMBER}\s+(?:\.\./)?Data/Images/(\w+/(?:frontal|profile)/\w+\.\w+)", re.ASCII)
_CFP_PAIR = re.compile(rf"{_NUMBER}\s*,\s*{_NUMBER}", re.ASCII)


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Image pairs of a verification protocol, in its order; the columns become read-only arrays.

    Args:
      left: str [P], key of the first image of every pair.
      right: str [P], key of the second image.
      same: bool [P], True for a genuine pair (one person), False for an impostor pair.
      fold: int [P], the fold of every pair, counted from 0.

    Raises:
      ValueError: if there is no pair, lengths differ, or a column has another type.
    """

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    fold: np.ndarray

    def __post_init__(self):
        for name, kinds in (("left", "U"), ("right", "U"), ("same", "b"), ("fold", "iu")):
            column = np.array(getattr(self, name))
            if column.ndim != 1 or column.dtype.kind not in kinds or len(column) != len(self.left) or not len(column):
                expected = {"U": "str", "b": "bool", "iu": "int"}[kinds]
                raise ValueError(
                    f"`{name}` must be {expected} [{len(self.left) or 'P > 0'}], got {column.dtype} {column.shape}."
                )
            column.setflags(write=False)
            object.__setattr__(self, name, column)

    def __len__(self):
        return len(self.same)

    def restrict(self, keys):
        """Keeps the pairs whose two images are both available, for instance those of held-out people.

        Folds keep their order and are renumbered from 0 without gaps.

        Args:
          keys: iterable of str, the available images.

        Returns:
          (Pairs, dropped): the pairs that are left, and how many are not (int).

        Raises:
          ValueError: if no pair is left.
        """
        keys = np.array(sorted(set(keys)), dtype=str)
        keep = np.isin(self.left, keys) & np.isin(self.right, keys)
        if not keep.any():
            raise ValueError(
                f"none of the {len(self)} pairs has both images among the {len(keys)} keys: "
                f"the pairs name images like {str(self.left[0])!r}, the keys are like {keys[:1].tolist()}."
            )
        fold = np.unique(self.fold[keep], return_inverse=True)[1]
        return Pairs(self.left[keep], self.right[keep], self.same[keep], fold), int(np.sum(~keep))


def read_pairs(path):
    """Reads the pairs of a protocol: LFW from a file, CFP from a folder.

    Args:
      path: a file in the form of LFW's `pairs.txt`, or one of CFP's folders `Protocol/Split/FF` and `.../FP`.

    Returns:
      Pairs.

    Raises:
      ValueError: if the content is not of that form.
    """
    return read_cfp_pairs(path) if os.path.isdir(path) else read_lfw_pairs(path)


def read_lfw_pairs(path):
    """Reads LFW's `pairs.txt` (View 2) or `pairsDevTrain.txt`, `pairsDevTest.txt` (View 1, a single fold).

    The first line holds the number of folds (View 1: none) and of pairs per class and fold. Every fold lists its
    genuine pairs (`name i j`), then its impostor pairs (`name i other_name j`).

    Args:
      path: path of the file.

    Returns:
      Pairs with keys such as `Abel_Pacheco/Abel_Pacheco_0001.jpg`.

    Raises:
      ValueError: if a line is malformed or the number of lines is not the announced one.

    Reference:
      Huang et al., Labeled Faces in the Wild, UMass Amherst technical report 07-49, 2007.
    """
    header, *lines = _read_lines(path) or [""]
    match = _LFW_HEADER.fullmatch(header)
    if not match:
        raise _malformed(path, 1, header, "the numbers of folds and of pairs per class")
    folds, per_class = (1, int(match[1])) if match[2] is None else (int(match[1]), int(match[2]))
    if len(lines) != 2 * folds * per_class:
        raise ValueError(f"{path}: line 1 announces {2 * folds * per_class} pairs ({header!r}), got {len(lines)}.")
    left, right, same = [], [], []
    for index, line in enumerate(lines):
        genuine = index // per_class % 2 == 0
        match = (_LFW_GENUINE if genuine else _LFW_IMPOSTOR).fullmatch(line)
        if genuine and match:
            first, second = (match[1], match[2]), (match[1], match[3])
        elif match:
            first, second = (match[1], match[2]), (match[3], match[4])
        if not match or first == second or (first[0] == second[0]) != genuine:
            form = "a genuine pair (name, i, j)" if genuine else "an impostor pair (name, i, other name, j)"
            raise _malformed(path, index + 2, line, form)
        left.append(_lfw_key(*first))
        right.append(_lfw_key(*second))
        same.append(genuine)
    return Pairs(left, right, same, np.arange(len(same)) // (2 * per_class))


def read_cfp_pairs(split_folder):
    """Reads the frontal-frontal or frontal-profile pairs of Celebrities in Frontal-Profile.

    Args:
      split_folder: `Protocol/Split/FF` or `Protocol/Split/FP` of the official layout; every fold `NN` has `same.txt`
        and `diff.txt` with lines `i,j` that count, from 1, lines of `Protocol/image_list_F.txt` and, in FP for j,
        `Protocol/image_list_P.txt`.

    Returns:
      Pairs with keys relative to `Data/Images`, such as `001/frontal/01.jpg`; in every fold genuine pairs come first.

    Raises:
      ValueError: if the folder has another name, a fold is missing, or a line is malformed, points outside its list or
        contradicts the people's folders.

    Reference:
      Sengupta et al., Frontal to Profile Face Verification in the Wild, WACV 2016.
    """
    # The name decides which list j points into; a relative "." would hide it.
    folder = pathlib.Path(os.path.abspath(split_folder))
    letters = {"FF": "F", "FP": "FP"}.get(folder.name)
    if letters is None:
        raise ValueError(f"a folder of CFP pairs is called FF or FP, got {str(split_folder)!r}.")
    lists = [_read_cfp_images(folder.parents[1] / f"image_list_{letter}.txt") for letter in letters]
    folds = sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
    if not folds or folds != list(range(1, len(folds) + 1)):
        raise ValueError(f"{folder} must hold folds 01, 02, ... without gaps, got {folds}.")
    left, right, same, fold = [], [], [], []
    for number, (name, genuine) in itertools.product(folds, (("same.txt", True), ("diff.txt", False))):
        path = folder / f"{number:02d}" / name
        for line_number, line in enumerate(_read_lines(path), start=1):
            match = _CFP_PAIR.fullmatch(line)
            try:
                first, second = lists[0][int(match[1]) - 1], lists[-1][int(match[2]) - 1]
            except (TypeError, IndexError):
                raise _malformed(path, line_number, line, "i,j within the image lists") from None
            if first == second or (first.split("/")[0] == second.split("/")[0]) != genuine:
                people = "two images of one person" if genuine else "images of two people"
                raise _malformed(path, line_number, line, f"{people} (got {first} and {second})")
            left.append(first)
            right.append(second)
            same.append(genuine)
            fold.append(number - 1)
    return Pairs(left, right, same, fold)


def sample_pairs(keys, labels, count, seed, folds=10):
    """Draws a balanced verification protocol from labelled images.

    The folds share no identity: identities are dealt out by their number of images, so that every fold has about the
    same supply. Within a fold genuine pairs come first; each identity gives as many of them as any other, as far as its
    images allow. Impostor pairs go round the circle of the fold's identities, so that each appears equally often, and
    two identities meet again only after all have met. No pair occurs twice.

    Args:
      keys: str [N], different keys of the images.
      labels: int or str [N], their identities.
      count: total number of pairs, a multiple of 2 * folds; half are genuine.
      seed: int; the same arguments give the same pairs.
      folds: number of equally large, contiguous folds.

    Returns:
      Pairs.

    Raises:
      ValueError: if keys repeat, lengths or counts do not fit, or a fold's identities do not have enough pairs.
    """
    keys, labels = np.asarray(keys, dtype=str), np.asarray(labels)
    if keys.ndim != 1 or keys.shape != labels.shape or len(np.unique(keys)) != len(keys):
        raise ValueError(f"`keys` and `labels` must be [N], keys all different, got {keys.shape} and {labels.shape}.")
    if folds < 1 or count < 1 or count % (2 * folds):
        raise ValueError(f"`count` must be a positive multiple of 2 * folds, got count={count}, folds={folds}.")
    rng, per_class = np.random.default_rng(seed), count // (2 * folds)
    order, starts = np.argsort(labels, kind="stable"), np.unique(np.sort(labels), return_index=True)[1]
    images = np.split(order, starts[1:])
    identities = rng.permutation(len(images))
    identities = identities[np.argsort([-len(images[identity]) for identity in identities], kind="stable")]
    drawn = []
    for fold in range(folds):
        members = [images[identity] for identity in rng.permutation(identities[fold::folds])]
        genuine = [(member, member) for member in members if len(member) > 1]
        impostor = list(itertools.islice(_circle(members), per_class))
        drawn += _draw(genuine, per_class, rng, f"genuine pairs in fold {fold}")
        drawn += _draw(impostor, per_class, rng, f"impostor pairs in fold {fold}")
    left, right = np.transpose(drawn)
    place = np.arange(count) // per_class
    return Pairs(keys[left], keys[right], place % 2 == 0, place // 2)


def _circle(members):
    """Yields all pairs of members, each once, so that every member comes up equally often at any time."""
    size = len(members)
    for step in range(1, size // 2 + 1):
        for at in range(step if 2 * step == size else size):
            yield members[at], members[(at + step) % size]


def _draw(meetings, count, rng, purpose):
    """Draws `count` different image pairs, as evenly over the meetings (images, images) as their sizes allow."""
    supply = np.array([len(a) * (len(a) - 1) // 2 if a is b else len(a) * len(b) for a, b in meetings], dtype=np.int64)
    if supply.sum() < count:
        raise ValueError(f"the images allow {supply.sum()} {purpose}, got a demand for {count}.")
    share = np.zeros_like(supply)
    while rest := count - share.sum():
        hungry = np.flatnonzero(share < supply)[:rest]
        share[hungry] += np.minimum(rest // len(hungry), (supply - share)[hungry])
    drawn = []
    for (a, b), size, wanted in zip(meetings, supply.tolist(), share.tolist(), strict=True):
        for number in rng.choice(size, wanted, replace=False).tolist():
            if a is b:  # Pairs i < j are numbered (0,1), (0,2), (1,2), (0,3), ...
                j = (1 + math.isqrt(1 + 8 * number)) // 2
                i = number - j * (j - 1) // 2
            else:
                i, j = divmod(number, len(b))
            drawn.append((a[i], b[j]))
    return drawn


def _lfw_key(name, number):
    return f"{name}/{name}_{int(number):04d}.jpg"


def _read_cfp_images(path):
    images = []
    for number, line in enumerate(_read_lines(path), start=1):
        match = _CFP_IMAGE.fullmatch(line)
        if not match or int(match[1]) != number:
            raise _malformed(path, number, line, f"'{number} Data/Images/<person>/<frontal or profile>/<image>'")
        images.append(match[2])
    return images


def _read_lines(path):
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(_MAX_CHARACTERS + 1)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error}).") from None
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"{path}: a list of pairs has at most {_MAX_CHARACTERS} characters, got more.")
    return [line.rstrip() for line in text.rstrip().split("\n")] if text.strip() else []


def _malformed(path, number, line, expected):
    return ValueError(f"{path}, line {number}: expected {expected}, got {line[:200]!r}.")

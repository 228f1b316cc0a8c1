"""Verification of any model: an export, a run folder, or a file of embeddings."""

import os
import pathlib
from collections.abc import Mapping, Sequence

from tfface import data, evaluation, export
from tfface.data.protocols import pair_lists
from tfface.data.protocols.pair_sampling import sample_most_pairs
from tfface.jobs import provenance
from tfface.jobs.embedding import embed_images
from tfface.jobs.image_folders import open_images
from tfface.jobs.report import write_report
from tfface.training.checkpoints.class_weights import class_weights_of

_EMBEDDINGS = (".npz", ".tfrecord")


def verify_model(
    model: str | os.PathLike,
    images: str | os.PathLike | None = None,
    protocol: Sequence[str | os.PathLike] = (),
    max_pairs: int = 6000,
    seed: int = 0,
    flip: bool = False,
    output: str | os.PathLike = "evaluation",
    report: str | os.PathLike | None = None,
    groups: str | os.PathLike | None = None,
    hardest: int = 8,
    command: str | None = None,
    skip_bad: bool = False,
    allow_missing: bool = False,
    depth: int = 1,
    batch_size: int = 64,
) -> list[evaluation.VerificationResult]:
    """Verifies a model on pairs of images and writes `results.json`, `results.csv`, `report.png` and `report.html`.

    When a run is verified on its own training records, the report includes angles between embeddings and class weights.

    Args:
      model: SavedModel folder, run folder, `.keras` file, or file of embeddings (`.npz`, `.tfrecord`); for such a file,
        images serve only as pictures in the report.
      images: records (dataset folder or glob), or a folder of images, root/identity/image.jpg.
      protocol: paths of official pair lists (see `pair_lists.read_pairs`); without any, pairs are drawn from
        the identities of the images.
      max_pairs: int, largest number of pairs to draw.
      seed: int, seed of the draw.
      flip: bool, add the embedding of the flipped image.
      output: folder to write to.
      report: path of the HTML page; default: `report.html` in the folder.
      groups: CSV file with the keys of the images and columns to group them by, or None.
      hardest: int, number of pairs of each kind on the page.
      command: str, the command line that the page shows.
      skip_bad: bool, leave out damaged records and files; the report counts and names them.
      allow_missing: bool, measure the other pairs of a list if images are missing; the report says how many are.
      depth: int, number of folders that name an identity, in a folder of images.
      batch_size: int, images per batch.

    Returns:
      list of `VerificationResult`, one per protocol.

    Raises:
      ValueError: the model, the images, a protocol or the groups are not of that form.
      OSError: a file cannot be read or written.
    """
    columns = evaluation.read_groups(groups) if groups else {}
    ready = is_embeddings(model)
    opened = open_images(images, skip_bad, depth) if images and (skip_bad or not ready) else None
    if ready:
        embeddings = export.load_embeddings(model)
    elif images:
        embeddings = embed_images(model, images, flip=flip, batch_size=batch_size, opened=opened)
    else:
        raise ValueError("the images to embed are missing: give records or a folder.")
    protocols = verification_pairs(embeddings, protocol, max_pairs, seed, allow_missing)
    of_network = export.read_facts(model)
    flips = flip or bool(of_network and of_network["flip"])
    context = {
        "command": command,
        **provenance.provenance(model, images, protocol),
        **({"export": of_network} if of_network else {}),
        "pairs": described(protocols) if protocol else f"drawn with seed {seed}",
        "flip": "as in the file" if ready else "sum of unit embeddings of image and flipped image" if flips else False,
        "groups": {str(groups): provenance.sha256(groups)} if groups else {},
    }
    if opened is not None:
        context |= opened.left_out()
    return write_report(
        embeddings,
        protocols,
        output,
        context,
        f"Verification of {model}",
        page=report,
        columns=columns,
        hardest=hardest,
        images=images if opened is None else opened,
        class_weights=None if ready or images is None else class_weights_of(model, images),
    )


def is_embeddings(model: str | os.PathLike) -> bool:
    """Whether a path is that of a file of embeddings rather than of a model."""
    return pathlib.Path(model).suffix in _EMBEDDINGS


def verification_pairs(
    embeddings: export.Embeddings,
    protocol: Sequence[str | os.PathLike],
    max_pairs: int,
    seed: int,
    allow_missing: bool = False,
) -> dict[str, pair_lists.Pairs]:
    """Reads official pair lists, or draws pairs from labelled embeddings: {name: `Pairs`}.

    Args:
      embeddings: `Embeddings`; only keys and labels matter.
      protocol: paths of official pair lists.
      max_pairs: int, largest number of pairs to draw without a protocol; fewer if the images do not allow as many.
      seed: int, seed of the draw.
      allow_missing: bool, whether a list may name images that are not among the keys; their pairs are left out.

    Raises:
      ValueError: a list is malformed, or an image of it is missing and `allow_missing` is False, or no
        pairs can be drawn from the images.
    """
    if protocol:
        names = protocol_names(protocol)
        lists = [pair_lists.read_pairs(path).restrict(embeddings.keys)[0] for path in protocol]
        for path, pairs in zip(protocol, lists, strict=True):
            if pairs.completeness and pairs.completeness.missing and not allow_missing:
                raise ValueError(
                    f"{path}: {pairs.completeness}. Results on a part of a protocol are not the protocol's; "
                    "--allow_missing measures the other pairs and says so."
                )
        return dict(zip(names, lists, strict=True))
    if embeddings.labels is None:
        raise ValueError("pairs can only be drawn from embeddings with labels, and these have none: give a protocol.")
    return {"held-out pairs": sample_most_pairs(embeddings.keys, embeddings.labels, max_pairs, seed)}


def described(protocols: Mapping[str, pair_lists.Pairs]) -> dict[str, str]:
    """Returns what a report says of the completeness of official lists, by their names."""
    return {name: f"official, {pairs.completeness}" for name, pairs in protocols.items()}


def protocol_names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """Names pair lists by their files; where a name says too little, by their datasets or folders too.

    Args:
      paths: of pair lists. The `pairs.csv` in a dataset, as a .bin file is converted, has the name of the dataset.

    Raises:
      ValueError: a list is given twice.
    """
    absolute = [pathlib.Path(os.path.abspath(path)) for path in paths]
    if len(set(absolute)) < len(absolute):
        raise ValueError(f"a protocol is given twice: {', '.join(map(str, paths))}.")
    names = [_dataset_name(path) or path.stem for path in absolute]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}/{name}" for path, name in zip(absolute, names, strict=True)]
    return names if len(set(names)) == len(names) else list(map(str, absolute))


def _dataset_name(path):
    """Returns the name of the dataset that a list lies in, or None."""
    if path.name != "pairs.csv" or not (path.parent / data.records.DATASET_FILE).is_file():
        return None
    return data.DatasetInfo.load(path.parent).name

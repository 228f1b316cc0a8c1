"""Verification of any model: an export, a run folder, or embeddings that exist already."""

import os
import pathlib

from tfface import evaluation, export
from tfface.data.protocols import pair_lists
from tfface.jobs import provenance
from tfface.jobs.embedding import embed_images, skip_bad_records
from tfface.jobs.report import write_report
from tfface.training.checkpoints.class_weights import class_weights_of

_EMBEDDINGS = (".npz", ".tfrecord")


def verify_model(
    model,
    images=None,
    protocol=(),
    max_pairs=6000,
    seed=0,
    flip=False,
    output="evaluation",
    report=None,
    groups=None,
    hardest=8,
    command=None,
    skip_bad=False,
):
    """Verifies a model on pairs of images and writes `results.json`, `results.csv`, `report.png` and `report.html`.

    Angles between embeddings and class weights are among the numbers where a run meets the records of its training.

    Args:
      model: SavedModel folder, run folder, `.keras` file, or file of embeddings (`.npz`, `.tfrecord`); with the last,
        images only serve as pictures of the report.
      images: records (dataset folder or glob), or a folder of images, root/identity/image.jpg.
      protocol: paths of official pair lists (see `pair_lists.read_pairs`), cut down to the images that there are; if
        there are none, pairs are drawn from the identities of the images.
      max_pairs: int, pairs drawn at most.
      seed: int, of the draw.
      flip: bool, add the embedding of the mirrored image.
      output: folder to write to.
      report: path of the HTML page; default: `report.html` in the folder.
      groups: CSV file of the images' keys and of columns to group them by, or None.
      hardest: int, pairs of each kind that the page shows.
      command: str, what was run, for the page.
      skip_bad: bool, leave out damaged records; the context of the report counts and names them.

    Returns:
      list of `VerificationResult`, one for each protocol.

    Raises:
      ValueError: the model, the images, a protocol or the groups are not of that form.
      OSError: a file cannot be read or written.
    """
    columns = evaluation.read_groups(groups) if groups else {}
    ready = pathlib.Path(model).suffix in _EMBEDDINGS
    if not ready and not images:
        raise ValueError("the images to embed are missing: give records or a folder.")
    records = skip_bad_records(images) if skip_bad and images else None
    embeddings = export.load_embeddings(model) if ready else embed_images(model, images, flip=flip, records=records)
    protocols = verification_pairs(embeddings, protocol, max_pairs, seed)
    context = {
        "command": command,
        **provenance.provenance(model, images, protocol),
        "pairs": "official, restricted to the images" if protocol else f"drawn with seed {seed}",
        "flip": "as in the file" if ready else "sum of unit embeddings of image and mirror" if flip else False,
        "groups": {str(groups): provenance.sha256(groups)} if groups else {},
    }
    if records is not None and records.bad:
        context["left out"] = {"count": len(records.bad), "records": list(map(str, records.bad))}
    return write_report(
        embeddings,
        protocols,
        output,
        context,
        f"Verification of {model}",
        page=report,
        columns=columns,
        hardest=hardest,
        images=images if records is None else records,
        class_weights=None if ready else class_weights_of(model, images),
    )


def verification_pairs(embeddings, protocol, max_pairs, seed):
    """Returns {name: `Pairs`} of official pair lists, or of pairs drawn from labelled embeddings.

    Args:
      embeddings: `Embeddings`; only keys and labels matter.
      protocol: paths of official pair lists; restricted to the keys that there are.
      max_pairs: int, pairs drawn where there is no protocol; fewer where the images do not allow as many.
      seed: int, of the draw.

    Raises:
      ValueError: a list is malformed or shares no pair with the images, or the images do not allow any draw.
    """
    if protocol:
        names = [pathlib.Path(os.path.abspath(path)).stem for path in protocol]
        if len(set(names)) < len(names):
            raise ValueError(f"protocols are told apart by their file names, got {names}.")
        lists = [pair_lists.read_pairs(path).restrict(embeddings.keys)[0] for path in protocol]
        return dict(zip(names, lists, strict=True))
    if embeddings.labels is None:
        raise ValueError("pairs can only be drawn from embeddings with labels; these have none: give a protocol.")
    # Ten folds need twenty identities; a small album of one's own photos should still get an answer.
    for folds in (10, 5, 2):
        count = max_pairs // (2 * folds) * (2 * folds)
        while count:
            try:
                pairs = pair_lists.sample_pairs(embeddings.keys, embeddings.labels, count, seed, folds)
            except ValueError as error:
                reason = error
                count = count // 2 // (2 * folds) * (2 * folds)
            else:
                return {"held-out pairs": pairs}
    raise ValueError(f"no verification pairs can be drawn: {reason}")

"""Evaluation of a model by any number of protocols, each image embedded once."""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence

from tfface import evaluation, export, files, interrupts, ownership
from tfface.config import components
from tfface.evaluation.metrics.completeness import Completeness
from tfface.jobs import provenance
from tfface.jobs.protocol_embeddings import ImageSet, ProtocolEmbedder, embedded_from_file, find_images
from tfface.jobs.report import keys_of, write_results
from tfface.jobs.thumbnails import decode_thumbnails
from tfface.jobs.verification import is_embeddings
from tfface.protocols import Images, PairProtocol, Protocol
from tfface.protocols.base import Result

MISSING_FILE = "missing.txt"
_CALL = re.compile(r"\w+\(.*\)", re.DOTALL)


def evaluate_protocols(
    model: str | os.PathLike,
    protocols: Sequence[str | Protocol],
    output: str | os.PathLike = "evaluation",
    *,
    flip: bool = False,
    batch_size: int = 64,
    allow_missing: bool = False,
    skip_bad: bool = False,
    groups: str | os.PathLike | None = None,
    hardest: int = 8,
    report: str | os.PathLike | None = None,
    command: str | None = None,
) -> list[Result]:
    """Measures a model by protocols, and writes the files of a report.

    Each image is embedded once, though several protocols need it. An interrupted call leaves its work in the folder
    OUTPUT/embeddings.partial; the same call continues from there and gives the same results.

    Args:
      model: export, run folder, `.keras` file, or file of embeddings (`.npz`, `.tfrecord`) with the names of all
        protocols' images as keys.
      protocols: list of calls such as `CFP(root="cfp", split="FF")`, or of `Protocol`.
      output: folder to write to.
      flip: add the embedding of the flipped image, where the pooling of a protocol does not say.
      batch_size: int, images per batch.
      allow_missing: measure the rest of a protocol if some of its images are missing; the report says how many are.
      skip_bad: count images that cannot be used as missing.
      groups: CSV file with the keys of the images of pairs and columns to group them by, or None.
      hardest: int, number of hardest pairs of each kind and list of pairs on the page.
      report: path of the HTML page; default: `report.html` in the folder.
      command: str, the command line that the page shows.

    Returns:
      list of `VerificationResult` (protocols of pairs of images) and `ProtocolResult` (others), one per protocol.

    Raises:
      ValueError: a protocol, its files, the model or the groups are not of that form, or images are missing; their
        names are in OUTPUT/missing.txt.
      OSError: a file cannot be read or written.
    """
    built = [components.build("protocol", each) if isinstance(each, str) else each for each in protocols]
    names = [protocol.name for protocol in built]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            f"two protocols are named {sorted(repeated)[0]}: evaluate them in two calls, or give one a name, if it "
            "takes one."
        )
    columns = evaluation.read_groups(groups) if groups else {}
    needed = [protocol.images() for protocol in built]
    output = pathlib.Path(output)
    work = output / "embeddings.partial"
    ready = is_embeddings(model)
    with contextlib.ExitStack() as stack:
        stack.enter_context(ownership.owned(output, name=".evaluation.owner"))
        if ready:
            stored = export.load_embeddings(model)
            sets: dict[tuple[str, str], ImageSet] = {}
        else:
            stack.enter_context(interrupts.remedy(f"the same command continues from {work}."))
            sets = find_images([images for each in needed for images in each], skip_bad)
            check_missing(zip(names, needed, strict=True), sets, allow_missing, output / MISSING_FILE)
            embedder = ProtocolEmbedder(model, provenance.model_sha256(model), flip, work, batch_size)
            for found in sets.values():
                embedder.check(found.images)
        measured: list[Result] = []
        held: dict = {}
        shown: dict = {}
        for number, protocol in enumerate(built):
            for images in needed[number]:
                if ready:
                    held[images.place] = embedded_from_file(stored, images)
                elif images.place not in held:
                    held[images.place] = embedder.embed(sets[images.place])
            work.mkdir(parents=True, exist_ok=True)
            embedded = [held[images.place] for images in needed[number]]
            try:
                result = _with_images(protocol.evaluate(embedded, work), needed[number], sets)
            except ValueError as error:
                raise ValueError(f"{protocol.name}: {error}") from error
            _check_complete(result, allow_missing)
            measured.append(result)
            if isinstance(protocol, PairProtocol):
                shown[protocol.name] = protocol.available_pairs(*embedded), needed[number][0].place
            # Embeddings of a million images are dropped as soon as no protocol needs them.
            later = {images.place for each in needed[number + 1 :] for images in each}
            held = {place: found for place, found in held.items() if place in later and not ready}
        results = [result for result in measured if isinstance(result, evaluation.VerificationResult)]
        hardest_pairs = {
            result.name: evaluation.hardest_pairs(result, shown[result.name][0], hardest) for result in results
        }
        write_results(
            results,
            output,
            _context(model, built, measured, sets, flip, command),
            f"Evaluation of {model}",
            others=[result for result in measured if not isinstance(result, evaluation.VerificationResult)],
            page=report,
            groups={
                result.name: [
                    evaluation.group_results(result, shown[result.name][0], column, values)
                    for column, values in columns.items()
                ]
                for result in results
                if columns
            },
            hardest=hardest_pairs,
            pictures={
                name: pictures_of(sets[shown[name][1]], keys_of([kinds])) if sets else {}
                for name, kinds in hardest_pairs.items()
            },
        )
        shutil.rmtree(work)
    return measured


def split_protocols(values: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tells protocols, such as `LFW(root="lfw", pairs="pairs.txt")`, from paths of lists, which commas may separate.

    Returns:
      (calls, paths).
    """
    calls = [value for value in values if _CALL.fullmatch(value.strip())]
    paths = [path.strip() for value in values if value not in calls for path in value.split(",")]
    return calls, [path for path in paths if path]


def check_missing(
    needed: Iterable[tuple[str, Sequence[Images]]],
    sets: Mapping[tuple[str, str], ImageSet],
    allow_missing: bool,
    path: str | os.PathLike,
) -> None:
    """Writes the names of missing images to a file, and removes the file of an earlier call if there are none.

    Args:
      needed: pairs (name of a protocol, its `Images`).
      sets: what `find_images` found for them.
      allow_missing: whether images may be missing.
      path: of the file.

    Raises:
      ValueError: images are missing that must not be.
    """
    path = pathlib.Path(path)
    lines, sentences = [], []
    for name, of_protocol in needed:
        for images in of_protocol:
            found = sets[images.place]
            completeness = found.completeness(images)
            if not completeness.missing:
                continue
            sentences.append(f"{name}: {completeness}")
            missing = found.missing(images)
            lines += [f"{name}\t{images.root}\t{image}\t{reason}" for image, reason in missing.items()]
    if not lines:
        path.unlink(missing_ok=True)
        return
    files.write_atomically(path, ("\n".join(lines) + "\n").encode("utf-8", "replace"))
    if not allow_missing:
        raise ValueError(
            f"{'; '.join(sentences)} (all are in {path}). Results on a part of a protocol are not the protocol's; "
            "--allow_missing measures the rest and says so."
        )


def completeness_of(result: Result) -> tuple[Completeness, ...]:
    """Returns what a result says of the completeness of its protocol."""
    if isinstance(result, evaluation.VerificationResult):
        return (result.completeness,) if result.completeness else ()
    return result.completeness


def _with_images(result, needed, sets):
    """Adds to a result how many images there are in places of which a protocol needs all, because no list does."""
    if isinstance(result, evaluation.VerificationResult):  # Of pairs, whose completeness it states.
        return result
    found = tuple(sets[images.place].completeness(images) for images in needed if images.names is None and sets)
    return dataclasses.replace(result, completeness=(*result.completeness, *found)) if found else result


def _check_complete(result, allow_missing):
    """Raises ValueError if a part of a protocol is missing that its images do not show, as in a file of embeddings."""
    missing = [str(each) for each in completeness_of(result) if each.missing]
    if missing and not allow_missing:
        raise ValueError(
            f"{result.name}: {'; '.join(missing)}. Results on a part of a protocol are not the protocol's; "
            "--allow_missing measures the rest and says so."
        )


def _context(model, protocols, results, sets, flip, command):
    lists = list(dict.fromkeys(path for protocol in protocols for path in protocol.lists))
    of_network = export.read_facts(model)
    flips = flip or bool(of_network and of_network["flip"])
    return {
        "command": command,
        **provenance.provenance(model, None, lists),
        **({"export": of_network} if of_network else {}),
        "pairs": {
            result.name: f"official, {'; '.join(map(str, found))}"
            for result in results
            if (found := completeness_of(result))
        },
        "flip": "as in the file"
        if is_embeddings(model)
        else "sum of unit embeddings of image and flipped image"
        if flips
        else False,
        "places": {str(found.images.root): _place(found.chosen) for found in sets.values()},
    }


def _place(chosen):
    size = chosen.size()
    return f"{len(chosen.items)} images" + (f" of {size[0]} x {size[1]} pixels" if size else "")


def pictures_of(found: ImageSet, keys: Collection[str]) -> dict[str, bytes]:
    """Returns the pictures of some images of a set, for a report: dict from key to the bytes of a JPEG file."""
    source = found.chosen.source
    return decode_thumbnails({item.key: source.read(item) for item in found.chosen.items if item.key in keys})

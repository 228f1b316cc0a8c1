"""Embedding by the machines of an Apache Beam runner, for sets that are too large for one machine:

    embed_images(model, images, output, write=piece_writer(PipelineOptions(["--runner=FlinkRunner"])))

Each piece is one work item. The machine that receives it reads and embeds its images, with a model that every process
loads once. So all machines must see model, images and output under the same paths. They form the batches of an
embedding by one process, so the result is the same, bit for bit, on processors of one kind.
"""

import functools
import pathlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tfface.export.embedding.embedder import Embedder
from tfface.export.embedding.pieces import PiecePlan, load_plan, piece_path

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


def piece_writer(options: "PipelineOptions | None" = None) -> Callable[..., None]:
    """Makes a function for `embed_images(write=...)`.

    Args:
      options: options of the pipeline; default: those of the command line.

    Returns:
      Function of another one that loads the `Embedder`, which is pickled; of the folder of the pieces; and of their
      `PiecePlan`s, in order. It writes the pieces that are not there yet.
    """
    return functools.partial(_write_pieces, options=options)


def _write_pieces(load: Callable[[], Embedder], folder: str, plans: Iterable[PiecePlan], *, options) -> None:
    waiting = []
    for number, plan in enumerate(plans):
        path = piece_path(folder, number)
        if not path.is_file():
            plan.save(_plan_path(path))
            waiting.append(path)
    if waiting:
        # Imported here, because Apache Beam may be absent.
        from tfface.data.beam_pipeline import make_files

        make_files(functools.partial(_piece_maker, load), waiting, options)


def _piece_maker(load):
    embedder = load()
    return lambda path: load_plan(_plan_path(path)).write(embedder, path)


def _plan_path(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix(".plan")

"""Conversion by the machines of an Apache Beam runner, for datasets that are too large for one machine:

    convert(source, output_dir, write=shard_writer(PipelineOptions(["--runner=FlinkRunner"])))

The machine that runs `convert` lists the source, plans the shards and publishes the dataset. Each shard is one work
item of the pipeline: the machine that receives it reads, checks and writes its images. So all machines must see source
and output under the same paths, and the list of items must fit in the memory of the first machine.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from tfface import files, json_files
from tfface.data.conversion.plan import ShardPlan
from tfface.data.conversion.writer import ShardNote, read_note, write_shard
from tfface.data.sources.base import Item

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


def shard_writer(options: "PipelineOptions | None" = None) -> Callable[..., Generator[ShardNote, None, None]]:
    """Makes a function for `convert(write=...)`; its datasets equal those written by threads, byte for byte.

    Args:
      options: options of the pipeline; default: those of the command line.

    Returns:
      Generator function of a `Source`, a list of `ShardPlan`s and a progress callback; it yields `ShardNote`s. The
      source is pickled, and every machine reads its files.
    """
    return functools.partial(_write_shards, options=options)


def _write_shards(source, shards, advance, *, options):
    # Imported here, because Apache Beam may be absent.
    from tfface.data.beam_pipeline import make_files

    for shard in shards:
        _save(shard)
    make_files(functools.partial(_shard_maker, source), [shard.path for shard in shards], options)
    for shard in shards:
        note = read_note(shard)
        if note is None:
            raise OSError(f"{shard.path} was not written: all machines of the pipeline must see it under this path.")
        advance(len(shard.items))
        yield note


def _shard_maker(source):
    return lambda path: write_shard(source, _load(path))


_PLAN = {
    "digest": str,
    "labels": {str: json_files.COUNT},
    "items": [(str, str, object, json_files.Either(None, [float]))],
}


def _plan_path(path):
    return path.with_name(f"{path.name}.plan")


def _save(shard):
    """Writes a plan beside its shard."""
    plan = {
        "digest": shard.digest,
        "labels": {item.identity: shard.labels[item.identity] for item in shard.items},
        "items": [dataclasses.astuple(item) for item in shard.items],
    }
    files.write_atomically(_plan_path(shard.path), json.dumps(plan).encode())


def _load(path):
    plan = json_files.read(_plan_path(path), _PLAN)
    return ShardPlan(path, [Item(*values) for values in plan["items"]], plan["labels"], plan["digest"])

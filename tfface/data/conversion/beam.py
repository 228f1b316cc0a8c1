"""Conversion by the machines of an Apache Beam runner, for what is too much for one:

    convert(source, output_dir, write=shard_writer(PipelineOptions(["--runner=FlinkRunner"])))

The machine that runs `convert` lists the source, plans the shards and publishes the dataset. Each shard is a piece of
work of the pipeline: its images are read, checked and written by whichever machine gets it. So all machines must see
source and output under the same paths, and the memory of the first must hold the list of items.
"""

import dataclasses
import functools
import json

import apache_beam as beam

from tfface import files, json_files
from tfface.data.conversion.plan import ShardPlan
from tfface.data.conversion.writer import read_note, write_shard
from tfface.data.sources.base import Item


def shard_writer(options=None):
    """Makes what `convert` takes as `write`; the datasets are the same, byte for byte, as those written by threads.

    Args:
      options: `apache_beam.options.pipeline_options.PipelineOptions`; default: those of the command line.

    Returns:
      Function of a `Source`, a list of `ShardPlan`s and a function to be told numbers of images; generator of
      `ShardNote`s. The source is pickled, and its files are read by every machine.
    """
    return functools.partial(_write_shards, options=options)


def _write_shards(source, shards, advance, *, options):
    for shard in shards:
        _save(shard)
    with beam.Pipeline(options=options) as pipeline:
        # Paths only: the graph of a pipeline would not hold millions of items.
        paths = pipeline | beam.Create([shard.path for shard in shards]) | beam.Reshuffle()
        _ = paths | beam.Map(lambda path: write_shard(source, _load(path)))
    for shard in shards:
        note = read_note(shard)
        if note is None:
            raise OSError(f"{shard.path} was not written: do all machines of the pipeline see it under this path?")
        advance(len(shard.items))
        yield note


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

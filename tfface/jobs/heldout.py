"""Verification while a network trains: on held-out records, and on protocols with images of their own."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tfface import data, evaluation, export
from tfface.config import components
from tfface.config.build import build_encoder
from tfface.config.train_config import TrainConfig
from tfface.data.protocols.pair_lists import Pairs
from tfface.jobs.protocol_embeddings import find_images
from tfface.jobs.protocols import check_missing, pictures_of, split_protocols
from tfface.jobs.report import keys_of, people_in, write_results
from tfface.jobs.thumbnails import read_thumbnails
from tfface.jobs.verification import described, verification_pairs
from tfface.protocols import YTF, PairProtocol

HARDEST = 8  # Pairs of each kind on the page of a run.


@dataclasses.dataclass(frozen=True)
class Place:
    """Images of one place, and the lists of pairs among them.

    Attributes:
      embed: function without arguments that embeds the images, and returns `Embeddings`.
      pairs: dict from the name of a list to its `Pairs`.
      pictures: function from keys to {key: bytes of a JPEG file}, for the report.
    """

    embed: Callable[[], export.Embeddings]
    pairs: Mapping[str, Pairs]
    pictures: Callable[[set[str]], dict[str, bytes]]


class HeldOut:
    """Verification of a network on the same pairs, again and again.

    Attributes:
      places: list of `Place`; empty if there is nothing to verify on.
      lists: paths of the lists of pairs, which identify them by their hashes.
      described: dict from the name of a list to what a report says of it.

    Args:
      settings: `TrainConfig`; `protocol` has lists of pairs among the records, and protocols that name their images.
      encoder: the network; its current weights count.
      records: held-out `Records`, or None.
      folder: for the list of missing images, `missing.txt`.

    Raises:
      ValueError: a protocol is not one of pairs of images, its files are not of their form, or images are missing.
      OSError: a file cannot be read or written.
    """

    def __init__(
        self, settings: TrainConfig, encoder: keras.Model, records: data.Records | None, folder: str | os.PathLike
    ):
        self._settings, self._encoder = settings, encoder
        calls, lists = split_protocols(settings.protocol)
        if lists and records is None:
            raise ValueError(f"--heldout_data is needed: it names the images of {lists[0]}.")
        self.places: list[Place] = []
        self.lists: list[str] = lists
        self.described: dict[str, str] = {}
        if records is not None:
            self.places.append(self._of_records(records, lists))
            drawn = dict.fromkeys(self.places[0].pairs, f"drawn with seed {settings.seed}")
            self.described = described(self.places[0].pairs) if lists else drawn
        for place in self._of_protocols(calls, folder):
            self.places.append(place)
            self.described |= described(place.pairs)

    def verify(self) -> list[evaluation.VerificationResult]:
        """Returns the result of every list of pairs with the network's current weights."""
        if not self.places:
            return []
        self._update()
        return [result for place in self.places for result in _results(place, place.embed())]

    def report(
        self,
        folder: str | os.PathLike,
        context: Mapping[str, Any],
        title: str,
        earlier: Sequence[evaluation.VerificationResult],
    ) -> list[evaluation.VerificationResult]:
        """Verifies, and writes the files of a report; arguments as for `write_results`."""
        self._update()
        results: list[evaluation.VerificationResult] = []
        hardest, pictures = {}, {}
        identification, gallery_size, angles = None, None, None
        for place in self.places:
            embeddings = place.embed()
            found = _results(place, embeddings)
            kinds = {each.name: evaluation.hardest_pairs(each, place.pairs[each.name], HARDEST) for each in found}
            shown = keys_of(kinds.values())
            pictures |= dict.fromkeys(kinds, place.pictures(shown) if shown else {})
            results, hardest = results + found, hardest | kinds
            if embeddings.labels is not None:
                identification, gallery_size, angles = people_in(embeddings)
        write_results(
            results,
            folder,
            context,
            title,
            earlier=earlier,
            hardest=hardest,
            pictures=pictures,
            identification=identification,
            gallery_size=gallery_size,
            angles=angles,
        )
        return results

    @functools.cached_property
    def _network(self):
        """The encoder, or a copy in float32, because the export computes in it; none is made if nothing is verified."""
        in_float32 = self._settings.precision == "float32"
        return self._encoder if in_float32 else build_encoder(self._settings, precision="float32")

    @functools.cached_property
    def _embedder(self):
        return export.encoder_embedder(self._network)

    def _update(self):
        if self._network is not self._encoder:
            self._network.set_weights(self._encoder.get_weights())

    def _of_records(self, records, lists):
        settings = self._settings
        images = data.eval_dataset(records, 64, settings.image_size)
        embed = self._embed(images, lambda: data.naming_bad_records(records))
        pairs = verification_pairs(embed(), lists, settings.heldout_pairs, settings.seed, settings.allow_missing)
        return Place(embed, pairs, lambda keys: read_thumbnails(records, keys))

    def _of_protocols(self, calls, folder):
        settings = self._settings
        protocols = [components.build("protocol", call) for call in calls]
        for protocol, call in zip(protocols, calls, strict=True):
            # The pairs of YTF are of videos.
            if not isinstance(protocol, PairProtocol) or isinstance(protocol, YTF):
                raise ValueError(f"{call} is not verified while training: measure it by tfface evaluate --protocol=...")
            if protocol.name in self.described or [each.name for each in protocols].count(protocol.name) > 1:
                raise ValueError(f"two lists of pairs are named {protocol.name}: verify on one of them.")
            self.lists += protocol.lists
        needed = [(protocol.name, protocol.images()) for protocol in protocols]
        sets = find_images([images for _, each in needed for images in each], settings.skip_bad)
        check_missing(needed, sets, settings.allow_missing, folder)
        for place, found in sets.items():
            chosen = found.chosen
            keys = [item.key for item in chosen.items]
            lists = [protocol for protocol in protocols if protocol.images()[0].place == place]
            pairs = {protocol.name: protocol.pairs.restrict(keys)[0] for protocol in lists}
            embed = self._embed(chosen.dataset(64, settings.image_size), chosen.naming_bad_images)
            yield Place(embed, pairs, lambda shown, found=found: pictures_of(found, shown))

    def _embed(self, images, naming_errors: Callable[[], contextlib.AbstractContextManager]):
        def embed():
            with naming_errors():
                return export.embed_dataset(self._embedder, images)

        return embed


def _results(place, embeddings):
    return [evaluation.verify(embeddings.vectors, embeddings.keys, pairs, name) for name, pairs in place.pairs.items()]

"""Synthetic faces with known identities and landmarks, for tests, examples and benchmarks without photographs.

An identity determines the shape and the colours of a face. Each of its images has its own pose, light, expression and
background, and sometimes an occlusion. Everything is a function of `(seed, identity, index)`.
"""

import concurrent.futures
import contextlib
import itertools
import math
import multiprocessing
import os
import pathlib
import threading
from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image

from tfface import files, interrupts
from tfface.data.formats.landmarks import LANDMARK_COLUMNS, LANDMARKS_FILE
from tfface.data.synthetic import parts, scene
from tfface.data.synthetic.canvas import REFERENCE_SIZE, Canvas, Frame
from tfface.data.synthetic.pose import Pose


def render_face(seed: int, identity: int, index: int, size: int = 112) -> tuple[np.ndarray, np.ndarray]:
    """Draws one image of one identity.

    Args:
      seed: int >= 0. Another seed gives another set of identities.
      identity: int >= 0, the person.
      index: int >= 0, the image of that person.
      size: int >= 32, height and width of the image in pixels.

    Returns:
      image: uint8 [size, size, 3], RGB, aligned about as well as by a face detector.
      landmarks: float32 [5, 2], x and y in pixels (0, 0 is the centre of the first pixel) of the left eye, the right
        eye, the nose tip, and the left and right mouth corners; left is the left of the image.

    Raises:
      ValueError: if a number is negative or the size is below 32.
    """
    for name, value in (("seed", seed), ("identity", identity), ("index", index)):
        if value < 0:
            raise ValueError(f"{name} must be >= 0, got {value}.")
    _check_size(size)
    who = scene.person(seed, identity)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(identity, index)))
    shot = scene.shot_of(rng, who)
    pose = Pose(who, shot, size)
    canvas = Canvas(_background(rng, size), pose.head)
    for draw in (
        parts.draw_behind,
        parts.draw_head,
        parts.draw_nose,
        parts.draw_mouth,
        parts.draw_eyes,
        parts.draw_hair,
        *shot.covers,
    ):
        draw(canvas, who, shot, pose)
    return _photograph(rng, canvas, who, shot, pose), pose.landmarks.astype(np.float32)


def _smooth_field(rng, size, waves):
    """Returns a smooth random image, float32 [3, size, size], with values around 0."""
    across = np.cos(np.pi * np.arange(waves)[:, None] * np.linspace(0, 1, size)).astype(np.float32)
    order = np.arange(waves)
    weights = rng.normal(size=(3, waves, waves)) / (1 + order + order[:, None])
    return across.T @ weights.astype(np.float32) @ across


def _background(rng, size):
    colour = rng.uniform(0.15, 0.85, (3, 1, 1)).astype(np.float32)
    rgb = colour + 0.12 * _smooth_field(rng, size, waves=rng.integers(2, 7))
    frame = Frame(np.full(2, size / 2), np.eye(2) * size / REFERENCE_SIZE)
    canvas = Canvas(np.clip(rgb, 0.02, 1), frame)
    for _ in range(rng.integers(0, 4)):
        region = canvas.everywhere(frame.turned(rng.uniform(0, math.pi)))
        region.paint(region.inside(np.abs(region.u - rng.uniform(-56, 56)) - rng.uniform(2, 16)), rng.uniform(0, 1, 3))
    return canvas.rgb


def _photograph(rng, canvas, who, shot, pose):
    """Applies light and camera to the painted scene; returns uint8 [size, size, 3]."""
    rgb = canvas.rgb * _shading(canvas, who, shot, pose)
    rgb *= np.exp(0.12 * _smooth_field(rng, canvas.size, 3)[:1])
    rgb *= (shot.exposure * shot.balance).astype(np.float32).reshape(3, 1, 1)
    grey = rgb.mean(axis=0)
    rgb = np.clip(grey + np.float32(shot.colour) * (rgb - grey), 0, 1.3)
    rgb = rgb / (0.75 + 0.25 * rgb)
    rgb **= np.float32(shot.gamma)
    rgb = _blur(rgb, shot.blur * canvas.size / REFERENCE_SIZE)
    rgb += np.float32(shot.noise) * rng.standard_normal(rgb.shape, dtype=np.float32)
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0).copy()


def _shading(canvas, who, shot, pose):
    region = canvas.head
    x = region.u / pose.head_width
    y = region.v / np.where(region.v < 0, who.crown, 1.3 * who.chin).astype(np.float32)
    shrink = 1 / np.maximum(np.sqrt(x * x + y * y) / 0.93, 1)
    x, y = x * shrink, y * shrink
    z = np.sqrt(1 - x * x - y * y)
    steep = 0.8 * canvas.size / REFERENCE_SIZE
    slope_y, slope_x = np.gradient(canvas.relief)
    x, y = x - steep * slope_x, y - steep * slope_y
    facing = (x * shot.light[0] + y * shot.light[1] + z * shot.light[2]) / np.sqrt(x * x + y * y + z * z)
    return shot.ambient + (1.25 - shot.ambient) * np.maximum(facing, 0)


def _blur(rgb, strength):
    """Mixes each pixel with its neighbours, twice along each axis; 1 is the largest strength."""
    share = np.float32(strength / 3)
    for _ in range(2):
        step = share * np.diff(rgb, axis=2)
        rgb[:, :, :-1] += step
        rgb[:, :, 1:] -= step
        step = share * np.diff(rgb, axis=1)
        rgb[:, :-1] += step
        rgb[:, 1:] -= step
    return rgb


def write_folder(
    root: str | os.PathLike,
    identities: int,
    images_per_identity: int,
    size: int = 112,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Draws a synthetic dataset: `root/id_00000/000.png`, ... and `root/landmarks.csv`.

    The table has the columns `path` (relative to `root`) and `x1, y1` to `x5, y5`, the landmarks in pixels in the order
    of `render_face`. The folder appears under its name once it is complete.

    Args:
      root: the new folder, which must not exist.
      identities: int >= 1, number of identities.
      images_per_identity: int >= 1, number of images per identity.
      size: int >= 32, height and width of the images in pixels.
      seed: int >= 0, see `render_face`.
      workers: int >= 1, number of processes; it does not change the files. Scripts with more than one need an
        `if __name__ == "__main__":` guard.
      progress: optional callback, called with 1 after each image.

    Raises:
      ValueError: if `root` exists, or a number is out of its range.
    """
    root = pathlib.Path(root)
    counts = {"identities": identities, "images_per_identity": images_per_identity, "workers": workers}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}.")
    _check_size(size)
    if root.exists():
        raise ValueError(f"root must not exist yet, got {root}.")
    with files.replacing(root) as unfinished:
        unfinished.mkdir()
        rows = []
        # Closing ends the workers before a failure removes the folder into which they write.
        with contextlib.closing(_write_all(unfinished, identities, images_per_identity, size, seed, workers)) as people:
            for row in itertools.chain.from_iterable(people):
                rows.append(row)
                if progress:
                    progress(1)
        table = pd.DataFrame(rows, columns=["path", *LANDMARK_COLUMNS])
        table.to_csv(unfinished / LANDMARKS_FILE, index=False, float_format="%.3f")


def _write_all(folder, identities, images, size, seed, workers):
    """Yields the rows of each identity in order."""
    jobs = [(folder, identity, images, size, seed) for identity in range(identities)]
    if workers == 1:
        yield from map(_write_identity, jobs)
        return
    # A fork of a process in which TensorFlow already runs threads can hang, so workers are spawned.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        try:
            with interrupts.held():
                # Chunks are small, because an interrupted worker first finishes its chunk.
                results = pool.map(_write_identity, jobs, chunksize=1)
            yield from results
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _end_with_parent():
    """Ends this worker when the process that started it is killed: the queue of jobs would never say so."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _write_identity(job):
    folder, identity, images, size, seed = job
    name = f"id_{identity:05d}"
    (folder / name).mkdir()
    rows = []
    for index in range(images):
        image, landmarks = render_face(seed, identity, index, size)
        path = f"{name}/{index:03d}.png"
        Image.fromarray(image).save(folder / path, compress_level=1)
        rows.append([path, *landmarks.ravel().tolist()])
    return rows


def _check_size(size):
    if size < 32:
        raise ValueError(f"size must be >= 32, got {size}.")

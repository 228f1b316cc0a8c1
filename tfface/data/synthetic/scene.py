"""Random parameters of synthetic faces: of a person, and of one image of that person."""

import functools
import math
from types import SimpleNamespace

import numpy as np

from tfface.data.synthetic import parts
from tfface.data.synthetic.pose import Person, Shot

_SKIN = np.array([[0.97, 0.83, 0.74], [0.92, 0.73, 0.60], [0.81, 0.60, 0.45], [0.64, 0.44, 0.31], [0.46, 0.31, 0.22]])
_HAIR = np.array([[0.10, 0.08, 0.08], [0.25, 0.16, 0.10], [0.43, 0.28, 0.17], [0.55, 0.27, 0.13], [0.80, 0.65, 0.40]])
_GREY_HAIR = np.array([0.68, 0.67, 0.66])
_IRIS = np.array([[0.20, 0.11, 0.06], [0.38, 0.22, 0.10], [0.42, 0.42, 0.18], [0.25, 0.48, 0.32], [0.28, 0.48, 0.70]])


def _palette(colours, position):
    return np.array([np.interp(position, np.linspace(0, 1, len(colours)), channel) for channel in colours.T])


@functools.lru_cache(maxsize=8)
def person(seed: int, identity: int) -> Person:
    """Draws the parameters that are the same in all images of an identity."""
    # SeedSequence pads entropy with zeros, so [1, 2] and [1, 2, 0] would be equal; spawn keys have no such problem.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(identity,)))
    uniform = rng.uniform
    tone = uniform()
    who = SimpleNamespace(skin=_palette(_SKIN, tone) * uniform(0.97, 1.03, 3))
    who.hair = _palette(_HAIR, uniform() * (1 - 0.75 * tone**2)) * uniform(0.9, 1.1, 3)
    if uniform() < 0.12:
        who.hair = _GREY_HAIR * uniform(0.8, 1.1)
    who.iris = _palette(_IRIS, uniform() * (1 - 0.7 * tone)) * uniform(0.85, 1.15, 3)
    who.brow = who.hair * uniform(0.55, 0.9)
    who.lips = who.skin * (uniform(0.72, 0.95), uniform(0.45, 0.68), uniform(0.48, 0.72))

    who.head_width, who.depth = uniform(35, 45), uniform(38, 46)
    who.crown, who.chin = uniform(54, 62), uniform(42, 52)
    who.taper, who.squareness = uniform(0.0, 0.32), uniform(0.0, 0.8)
    who.neck, who.ear_size, who.ear_y = uniform(20, 32), uniform(7, 12), uniform(-14, -4)
    who.cheekbone, who.chin_bump = uniform(-0.5, 3.5), uniform(0, 3)

    who.eye_x, who.eye_y = uniform(15, 20.5), uniform(-17.5, -12)
    who.eye_width, who.eye_slant = uniform(6.8, 10), uniform(-0.16, 0.22)
    who.eye_upper, who.eye_lower = uniform(3.0, 6.0), uniform(1.8, 3.6)
    who.iris_radius, who.lash, who.socket = uniform(3.2, 4.6), uniform(0.3, 1.0), uniform(0, 3)
    who.crease, who.crease_shade, who.lid_shade = uniform(1.2, 3.6), uniform(0.5, 0.95), uniform(0.72, 1.0)

    who.brow_x, who.brow_y = who.eye_x + uniform(-1.5, 1.5), uniform(8.5, 14)
    who.brow_width, who.brow_angle, who.brow_arch = uniform(7.5, 12), uniform(-0.2, 0.22), uniform(0, 4.5)
    who.brow_thickness, who.brow_alpha, who.brow_ridge = uniform(0.7, 2.4), uniform(0.55, 1.0), uniform(0, 2)

    who.nose_y, who.nose_width, who.nose_depth = uniform(1.5, 9), uniform(5.0, 10.0), uniform(6, 13)
    who.bridge_width, who.nose_hook = uniform(2.6, 5.0), uniform(-1.0, 2.5)
    who.nostril, who.nose_shade, who.folds = uniform(0.5, 1.2), uniform(0.55, 0.75), uniform(0, 0.6)

    who.mouth_y, who.mouth_width, who.mouth_bow = uniform(22, 29.5), uniform(10.5, 17.5), uniform(-2, 2)
    who.upper_lip, who.lower_lip = uniform(1.2, 4.2), uniform(1.8, 5.2)
    who.cupid, who.lip_bump = uniform(0, 1.5), uniform(0, 2.5)

    who.hair_volume = uniform(2, 10) if uniform() > 0.08 else 0.0
    who.hair_length = uniform(15, 70) if uniform() < 0.45 else 0.0
    who.hairline, who.hair_drop = uniform(-48, -31), uniform(16, 42)
    who.hair_part, who.hair_phase = uniform(-11, 11), uniform(0, 2 * math.pi)
    who.hair_wave, who.hair_frequency = uniform(0, 1.6), uniform(0.25, 0.8)
    who.beard = uniform(0.25, 0.85) if uniform() < 0.25 else 0.0
    who.beard_line = uniform(-9, 8)

    who.blush = uniform(0, 0.35)
    who.freckles = uniform(0.3, 0.8) if uniform() < 0.25 else 0.0
    who.freckle_phase = uniform(0, 2 * math.pi)
    who.moles = [(uniform(-26, 26), uniform(-30, 36), uniform(0.7, 1.5)) for _ in range(rng.integers(0, 4))]
    return who


def shot_of(rng: np.random.Generator, who: Person) -> Shot:
    """Draws the parameters of one image: pose, expression, light, occlusions, lens."""
    uniform = rng.uniform
    shot = SimpleNamespace()
    # Standard deviations of 16 and 8 degrees.
    shot.yaw = float(np.clip(rng.normal(0, 0.28), -0.6, 0.6))
    shot.pitch = float(np.clip(rng.normal(0, 0.14), -0.32, 0.32))
    shot.roll, shot.zoom = rng.normal(0, 0.05), math.exp(rng.normal(0, 0.04))
    shot.shift = complex(*rng.normal(0, 1.6, 2))

    shot.jaw = uniform(1, 9) if uniform() < 0.4 else 0.0
    shot.smile, shot.teeth = uniform(-2, 5), float(uniform() < 0.7)
    shot.brow_raise, shot.brow_turn = uniform(-2.2, 3.5), uniform(-0.12, 0.12)
    lids = uniform(0.55, 1.15) if uniform() > 0.07 else 0.05
    shot.left_lid, shot.right_lid = (lids * uniform(0.9, 1, 2)).tolist()
    shot.gaze = uniform((-2.2, -0.8), (2.2, 0.8)).tolist()

    shot.lips = who.lips * (uniform(0.9, 1.1, 3) if uniform() < 0.8 else (1.05, uniform(0.5, 0.8), uniform(0.5, 0.9)))
    shot.shave, shot.flush, shot.fringe = uniform(0.4, 1.0), uniform(0, 0.25), uniform(-6, 6)
    shot.clothes, shot.cover = uniform(0.05, 0.95, 3), uniform(0.05, 0.95, 3)

    shot.covers = []
    spectacles = uniform()
    if spectacles < 0.20:
        shot.covers.append(parts.draw_glasses)
    shot.glass_alpha = uniform(0.85, 1.0) if spectacles < 0.04 else uniform(0.05, 0.2)
    shot.glass = uniform(0.02, 0.25, 3) if spectacles < 0.04 else np.array([0.8, 0.85, 0.9])
    shot.rim, shot.rim_colour = uniform(0.3, 1.0), uniform(0, 0.45, 3)
    shot.lens = uniform((11, 7.5), (14.5, 12)).tolist()
    hidden = uniform()
    if hidden < 0.04:
        shot.covers.append(parts.draw_mask)
    elif hidden < 0.11:
        shot.covers.append(parts.draw_cap)
    elif hidden < 0.20:
        shot.covers.append(parts.draw_patch)
    shot.mask_top, shot.brim = uniform(-4, 4), uniform(-6, 3)
    shot.patch_at, shot.patch_size = uniform((-45, -50), (45, 50)), uniform(5, 20, 2).tolist()
    shot.patch_turn, shot.patch_round = uniform(0, math.pi), uniform() < 0.5

    azimuth, height = uniform(-1.2, 1.2), uniform(-0.35, 0.9)
    shot.light = (math.sin(azimuth) * math.cos(height), -math.sin(height), math.cos(azimuth) * math.cos(height))
    shot.ambient, shot.exposure = uniform(0.3, 0.75), math.exp(uniform(-0.5, 0.3))
    warmth, green = rng.normal(0, 0.11), rng.normal(0, 0.04)
    shot.balance = np.exp([warmth, green, -warmth])
    shot.gamma, shot.colour = math.exp(rng.normal(0, 0.14)), float(uniform() > 0.08) * uniform(0.6, 1.05)
    shot.blur, shot.noise = uniform(0, 1) ** 2 * 0.9, uniform(0.005, 0.03)
    return shot

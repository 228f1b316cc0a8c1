"""Parts of a synthetic face: each function paints one part onto a `Canvas`.

Lengths are reference pixels. The origin of a face lies between the eyes and the mouth; x points to the right of the
image, y down, z towards the viewer.
"""

import numpy as np
import numpy.typing as npt

from tfface.data.synthetic.canvas import Canvas, Frame, Region
from tfface.data.synthetic.pose import Person, Pose, Shot


def blob(
    canvas: Canvas,
    frame: Frame,
    radius_u: float,
    radius_v: float,
    colour: npt.ArrayLike,
    alpha: float = 1.0,
    soft: float = 0.0,
    u: float = 0.0,
    v: float = 0.0,
) -> None:
    """Paints an ellipse of one colour."""
    reach_u, reach_v = radius_u + soft, radius_v + soft
    region = canvas.region(frame, u - reach_u, v - reach_v, u + reach_u, v + reach_v)
    region.paint(region.ellipse(u, v, radius_u, radius_v, soft) * np.float32(alpha), colour)


def raise_skin(
    canvas: Canvas, frame: Frame, radius_u: float, radius_v: float, height: float, u: float = 0.0, v: float = 0.0
) -> None:
    """Adds a smooth bump to the relief, or a hollow if `height` is negative."""
    region = canvas.region(frame, u - 2.2 * radius_u, v - 2.2 * radius_v, u + 2.2 * radius_u, v + 2.2 * radius_v)
    bump = np.exp(-(((region.u - u) / radius_u) ** 2) - ((region.v - v) / radius_v) ** 2)
    region.relief += np.float32(height) * bump


def head_distance(region: Region, who: Person, pose: Pose, grow: float = 0.0) -> np.ndarray:
    """Returns the signed distance to the outline of the head, in the frame of its centre."""
    down = np.maximum(region.v, 0) * np.float32(1 / (who.chin + grow))
    width = (pose.head_width + grow) * (1 - who.taper * down * down)
    # The chin lies in front of the centre of the head, so it moves sideways with the nose.
    across = (region.u - np.float32(0.5 * who.depth * pose.sine_yaw) * down * down) / width
    across *= across
    up = np.minimum(region.v, 0) * np.float32(1 / (who.crown + grow))
    along = down * down + up * up
    square = np.float32(who.squareness) * (down > 0)
    level = (1 - square) * (across + along) + square * (across * across + along * along)
    return (np.sqrt(level) - 1) * np.float32(pose.head_width + grow)


def draw_behind(canvas: Canvas, who: Person, shot: Shot, pose: Pose) -> None:
    """Paints neck, shoulders, the hair behind the face, and the ears."""
    region = canvas.head
    if who.hair_volume > 0:
        half = pose.head_width + who.hair_volume
        hanging = np.maximum(np.abs(region.u) - half, np.abs(region.v - who.hair_length / 2) - who.hair_length / 2)
        crown = head_distance(region, who, pose, who.hair_volume)
        distance = np.where(region.v > 0, hanging, crown) if who.hair_length > 0 else np.maximum(crown, region.v)
        region.paint(region.inside(distance, 1.5), who.hair * 0.7)
    neck = np.maximum(np.abs(region.u) - who.neck, 10 - region.v)
    region.paint(region.inside(neck, 1.0), who.skin * 0.72)
    shoulders = who.chin + 6 + 0.012 * region.u**2 - region.v
    region.paint(region.inside(shoulders), shot.clothes)
    for side in (-1, 1):
        ear = pose.at(side * who.head_width * 0.97, who.ear_y, depth=-4).turned(0.15, side)
        blob(canvas, ear, who.ear_size * 0.6, who.ear_size, who.skin * 0.92)
        blob(canvas, ear, who.ear_size * 0.3, who.ear_size * 0.65, who.skin * 0.7, soft=2, u=1)


def draw_head(canvas: Canvas, who: Person, shot: Shot, pose: Pose) -> None:
    """Paints the head, with cheeks, beard, freckles and moles."""
    region = canvas.head
    outline = head_distance(region, who, pose)
    region.paint(region.inside(outline), who.skin)
    if who.beard > 0:
        mouth = pose.at(0, who.mouth_y)
        local = canvas.everywhere(mouth)
        growth = local.inside(who.beard_line - local.v - 0.02 * local.u**2, 5) * region.inside(outline, 2)
        bare = local.ellipse(0, 1, who.mouth_width, 6, 3)
        local.paint(growth * (1 - bare) * np.float32(who.beard * shot.shave), who.hair)
    for side in (-1, 1):
        cheek = pose.at(side * who.eye_x * 1.15, who.eye_y * 0.3 + who.mouth_y * 0.4)
        raise_skin(canvas, cheek, 9, 8, who.cheekbone)
        blob(canvas, cheek, 8, 6, who.skin * (1.0, 0.75, 0.75), who.blush + shot.flush, soft=9)
        if who.freckles > 0:
            skin = canvas.region(cheek, -10, -7, 10, 7)
            dots = np.sin(skin.u * 1.7 + who.freckle_phase) * np.sin(skin.v * 1.9 + skin.u * 0.8 + side)
            spots = skin.inside(0.55 - dots) * skin.ellipse(0, 0, 9, 6, 4)
            skin.tint(spots * np.float32(who.freckles), (0.75, 0.62, 0.5))
    raise_skin(canvas, pose.at(0, who.mouth_y + 13), 9, 6, who.chin_bump)
    for x, y, radius in who.moles:
        blob(canvas, pose.at(x, y), radius, radius, who.skin * (0.45, 0.35, 0.32), alpha=0.9)


def draw_eyes(canvas: Canvas, who: Person, shot: Shot, pose: Pose) -> None:
    """Paints the eyes and the eyebrows."""
    for side, closing in ((-1, shot.left_lid), (1, shot.right_lid)):
        frame = pose.at(side * who.eye_x, who.eye_y).turned(-who.eye_slant, side)
        raise_skin(canvas, frame, who.eye_width + 3, 7, -who.socket)
        region = canvas.region(frame, -who.eye_width - 3, -12, who.eye_width + 3, 9)
        u, v = region.u, region.v
        arc = 1 - (u / who.eye_width) ** 2
        upper = (0.5 * who.eye_lower * (1 - min(closing, 1)) - who.eye_upper * closing) * arc
        lower = who.eye_lower * (0.35 + 0.65 * closing) * arc
        region.tint(region.ellipse(0, 0, who.eye_width + 1, who.eye_upper + 4, 6) * np.float32(0.9), who.lid_shade)
        crease = np.abs(v - upper * 1.15 + who.crease) - 0.35
        region.tint(region.inside(np.maximum(crease, np.abs(u) - who.eye_width), 0.5), who.crease_shade)
        opening = region.inside(np.maximum(upper - v, v - lower))
        region.paint(opening, (0.93, 0.92, 0.90))
        gaze_u, gaze_v = shot.gaze[0] * side, shot.gaze[1]
        radius = who.iris_radius
        region.paint(opening * region.ellipse(gaze_u, gaze_v, radius, radius), who.iris * 0.55)
        region.paint(opening * region.ellipse(gaze_u, gaze_v, radius - 0.9, radius - 0.9), who.iris)
        region.paint(opening * region.ellipse(gaze_u, gaze_v, radius * 0.48, radius * 0.48), (0.04, 0.03, 0.03))
        region.paint(opening * region.ellipse(gaze_u - side * 1.3, gaze_v - 1.4, 0.9, 0.9), (1, 1, 1))
        lash = np.maximum(np.abs(v - upper + 0.3) - who.lash, np.abs(u) - who.eye_width - 0.8)
        region.paint(region.inside(lash), who.skin * 0.2)
        rim = np.maximum(np.abs(v - lower) - 0.2, np.abs(u) - who.eye_width)
        region.paint(region.inside(rim, 0.6) * np.float32(0.5), who.skin * 0.45)
        draw_brow(canvas, who, shot, pose.at(side * who.brow_x, who.eye_y - who.brow_y - shot.brow_raise), side)


def draw_brow(canvas: Canvas, who: Person, shot: Shot, frame: Frame, side: int) -> None:
    """Paints one eyebrow."""
    frame = frame.turned(-who.brow_angle - shot.brow_turn, side)
    raise_skin(canvas, frame, who.brow_width, 3, who.brow_ridge)
    region = canvas.region(frame, -who.brow_width, -8, who.brow_width, 8)
    along = region.u / who.brow_width
    arch = who.brow_arch * (along * along - 0.4)
    thickness = who.brow_thickness * (1 - 0.45 * along - 0.25 * along * along)
    distance = np.maximum(np.abs(region.v - arch) - thickness, np.abs(region.u) - who.brow_width)
    region.paint(region.inside(distance, 0.6) * np.float32(who.brow_alpha), who.brow)


def draw_nose(canvas: Canvas, who: Person, shot: Shot, pose: Pose) -> None:
    """Paints the nose and the folds beside it."""
    tip = pose.nose
    bridge = pose.at(0, (who.eye_y + who.nose_y) / 2, depth=who.nose_depth * 0.45)
    raise_skin(canvas, bridge, who.bridge_width, (who.nose_y - who.eye_y) / 2, who.nose_depth * 0.5)
    raise_skin(canvas, tip, who.nose_width * 0.62, 4.0, who.nose_depth * 0.45)
    region = canvas.region(tip, -who.nose_width - 4, -7, who.nose_width + 4, 8)
    u, v = region.u, region.v
    wide = np.abs(u)
    # One curve forms wings and underside: a shallow bow that rises around the nostrils.
    under = who.nose_hook * (1 - (u / who.nose_width) ** 2) + 2.2
    region.tint(region.inside(np.maximum(np.abs(v - under) - 0.5, wide - who.nose_width), 1.2), who.nose_shade)
    wing = np.abs(np.hypot(wide - who.nose_width + 2.2, (v - 0.3) * 0.85) - 2.6) - 0.3
    region.tint(region.inside(np.maximum(wing, who.nose_width - 1.6 - wide), 0.8), who.nose_shade)
    nostril = np.hypot((wide - who.nose_width * 0.48) / 1.5, v - under + 0.2) - who.nostril
    region.paint(region.inside(nostril, 0.6) * np.float32(0.8), who.skin * 0.25)
    region.tint(region.ellipse(0, -1.5, 1.8, 1.8, 2.5) * np.float32(0.6), 1.12)
    for side in (-1, 1):
        fold = canvas.region(tip.turned(0.45, side), who.nose_width, 0, who.nose_width + 8, 17)
        line = np.abs(fold.u - who.nose_width - 3 + 0.012 * (fold.v - 8) ** 2) - 0.3
        strength = np.float32(who.folds + 0.05 * max(shot.smile, 0))
        fold.tint(fold.inside(np.maximum(line, np.abs(fold.v - 9) - 7), 1.2) * strength, 0.6)


def draw_mouth(canvas: Canvas, who: Person, shot: Shot, pose: Pose) -> None:
    """Paints the mouth."""
    frame, half = pose.mouth, pose.mouth_half
    raise_skin(canvas, frame, half, 5, who.lip_bump)
    region = canvas.region(frame, -half - 2, -12, half + 2, 22)
    along = region.u / half
    arc = np.maximum(1 - along * along, 0)
    middle = region.v + shot.smile * along * along - who.mouth_bow * arc * along * along
    top, bottom = -0.35 * shot.jaw * arc, 0.65 * shot.jaw * arc
    notch = who.cupid * np.exp(-((region.u / 2.5) ** 2))
    ends = np.abs(region.u) - half
    upper = np.maximum(top - who.upper_lip * np.sqrt(arc) + notch - middle, middle - top - 0.1)
    lower = np.maximum(bottom - middle - 0.1, middle - bottom - who.lower_lip * arc)
    region.paint(region.inside(np.maximum(upper, ends), 0.4), shot.lips * 0.9)
    region.paint(region.inside(np.maximum(lower, ends), 0.4), shot.lips)
    line = np.maximum(np.maximum(top - middle, middle - bottom) - 0.35, ends)
    gap = region.inside(line)
    region.paint(gap, shot.lips * 0.25)
    if shot.jaw > 2:
        teeth = np.maximum(np.maximum(top - middle, middle - top - 0.45 * shot.jaw * arc), ends)
        region.paint(gap * region.inside(teeth + 0.3) * np.float32(shot.teeth), (0.95, 0.93, 0.88))
    shadow = region.ellipse(0, shot.jaw * 0.65 + who.lower_lip + 2.2, half * 0.5, 1.0, 3)
    region.tint(shadow * np.float32(0.5), 0.75)


def draw_hair(canvas: Canvas, who: Person, shot: Shot, pose: Pose) -> None:
    """Paints the hair in front, from the top of the head to the hairline."""
    if who.hair_volume <= 0:
        return
    region = canvas.head
    # The hairline meets the outline of the head on both sides for every pose.
    centre, top = pose.head_point(0, who.hairline).tolist()
    u, v = region.u - centre, region.v - top
    along = u / np.where(u < 0, pose.head_width + centre, pose.head_width - centre).astype(np.float32)
    squared = along * along
    line = who.hair_drop * squared * squared + who.hair_part * along * (1 - 0.5 * squared) + shot.fringe * squared
    line += who.hair_wave * np.sin(u * who.hair_frequency + who.hair_phase)
    distance = np.maximum(head_distance(region, who, pose, who.hair_volume), v - line)
    flow = u * (0.7 + 0.006 * v) + v * (who.hair_part * 0.05)
    strands = 1 + 0.08 * np.sin(flow + 1.5 * np.sin(flow * 0.37 + who.hair_phase))
    region.paint(region.inside(distance, 1.0), who.hair, strands)


def draw_glasses(canvas: Canvas, who: Person, shot: Shot, pose: Pose) -> None:
    """Paints frames around the eyes, with glass of any opacity: spectacles or sunglasses."""
    for side in (-1, 1):
        frame = pose.at(side * (who.eye_x + 0.5), who.eye_y + 1, depth=3).turned(0, side)
        radius_u, radius_v = shot.lens
        region = canvas.region(frame, -radius_u - 8, -radius_v - 3, radius_u + 12, radius_v + 3)
        distance = (((region.u / radius_u) ** 4 + (region.v / radius_v) ** 4) ** 0.25 - 1) * radius_v
        region.paint(region.inside(distance) * np.float32(shot.glass_alpha), shot.glass)
        bar = np.maximum(np.abs(region.v + 2) - 0.8, -distance)
        region.paint(region.inside(np.minimum(np.abs(distance) - shot.rim, bar)), shot.rim_colour)


def draw_mask(canvas: Canvas, who: Person, shot: Shot, pose: Pose) -> None:
    """Paints a face mask over the nose and the mouth."""
    region = canvas.head
    local = canvas.everywhere(pose.nose)
    edge = np.maximum(head_distance(region, who, pose, 1.0), shot.mask_top - local.v + 0.012 * local.u**2)
    pleats = 1 + 0.06 * np.sin(local.v * 0.9)
    region.paint(region.inside(edge), shot.cover, pleats)


def draw_cap(canvas: Canvas, who: Person, shot: Shot, pose: Pose) -> None:
    """Paints a cap or a scarf over the hair, down to the forehead."""
    region = canvas.head
    local = canvas.everywhere(pose.at(0, -0.55 * who.crown))
    brim = local.v - shot.brim + 0.006 * local.u**2
    cap = region.inside(np.maximum(head_distance(region, who, pose, 7), brim))
    region.paint(cap, shot.cover)
    region.tint(cap * region.inside(np.abs(brim + 1.5) - 1.5, 0.5), 0.7)


def draw_patch(canvas: Canvas, who: Person, shot: Shot, pose: Pose) -> None:
    """Paints an object in front of the camera: a rectangle or an ellipse at any position."""
    frame = Frame(pose.head.to_image(*shot.patch_at), pose.head.matrix).turned(shot.patch_turn)
    radius_u, radius_v = shot.patch_size
    region = canvas.region(frame, -radius_u, -radius_v, radius_u, radius_v)
    if shot.patch_round:
        region.paint(region.ellipse(0, 0, radius_u, radius_v), shot.cover)
    else:
        region.paint(region.inside(np.maximum(np.abs(region.u) - radius_u, np.abs(region.v) - radius_v)), shot.cover)

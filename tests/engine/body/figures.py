"""The figures of docs/benchmarks/2026-11-22-body.md, and a sheet of fitted meshes over the pictures.

    python -m tests.engine.body.figures FOLDER [--frames 70] [--poses 200] [--sheet SHEET.webp]

FOLDER holds pictures and clips of bodies. Distances are shares of the body's height; legs are looked at in cuts of
every picture and of the first frame of every clip.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from engine.body import skeleton as s
from engine.body.fitter import BodyFit, BodyFitter
from engine.body.synthetic import synthetic_body
from engine.errors import InputError
from engine.imitation.mesh import PARTS, synthetic_layout
from engine.media.picture import read_picture
from engine.mesh import rotations as forms
from engine.mesh.cameras import on_screen, project_with_depth
from engine.mesh.raster import rasterise
from engine.track.body import BodyTracker
from engine.types import U8, Body
from tests.engine.body.bodies import MOVABLE, natural_pose, points_of
from tests.engine.body.measured import away, bends, cuts, files, frames_of, leans
from tests.engine.body.test_inverse import recovered

CELL = 300
TONES = np.array(
    [(240, 200, 80), (90, 170, 250), (80, 220, 160), (240, 130, 90), (200, 240, 120), (240, 170, 210), (60, 140, 220),
     (220, 90, 120), (160, 120, 240), (250, 150, 50)], np.float32
)  # fmt: skip


def angles(poses: int, noise: float) -> tuple[float, float, float]:
    """Mean, median and 95th percentile of the joints' errors in degrees."""
    numbers = np.random.default_rng(21)
    errors = []
    for _ in range(poses):
        pose = natural_pose(numbers)
        points = points_of(pose)
        found = recovered(points + noise * numbers.standard_normal(points.shape))
        errors.append(np.degrees(forms.angles_between(found, pose))[list(MOVABLE)])
    each = np.concatenate(errors)
    return float(each.mean()), float(np.median(each)), float(np.quantile(each, 0.95))


def overlaid(rgb: U8, fitter: BodyFitter, fit: BodyFit, body: Body) -> U8:
    """The mesh over the picture, parts in tones of their own and shaded; points that the tracker saw as dots."""
    height, width = rgb.shape[:2]
    side = max(height, width)
    posed = fitter.posed(fit).vertices
    layout = synthetic_layout()
    seen = project_with_depth(posed, fit.camera.in_square(-0.5, -0.5, side))
    index = rasterise(on_screen(seen), layout.faces, side).index[:height, :width]
    tones = np.zeros((layout.count, 3), np.float32)
    for tone, part in zip(TONES, PARTS):
        tones[layout.parts[part]] = tone
    a, b, c = (posed[layout.faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    light = np.abs(normals[:, 2]) / np.maximum(np.linalg.norm(normals, axis=1), 1e-9)
    tones *= (0.45 + 0.55 * light)[:, None]
    out = rgb.astype(np.float32)
    on = index >= 0
    out[on] = 0.35 * out[on] + 0.65 * tones[index[on]]
    made = np.ascontiguousarray(np.clip(out, 0, 255).astype(np.uint8))
    radius = max(2, side // 150)
    for point in s.OF_JOINT:
        if body.points[point, 3] >= 0.5:
            x, y = (round(float(value)) for value in body.points[point, :2])
            cv2.circle(made, (x, y), radius, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(made, (x, y), radius, (0, 0, 0), 1, cv2.LINE_AA)
    return made


def cell(rgb: U8, title: str) -> U8:
    height, width = rgb.shape[:2]
    factor = CELL / max(height, width)
    small = cv2.resize(rgb, (round(factor * width), round(factor * height)), interpolation=cv2.INTER_AREA)
    paper = np.full((CELL + 18, CELL, 3), 245, np.uint8)
    left = (CELL - small.shape[1]) // 2
    paper[18 : 18 + small.shape[0], left : left + small.shape[1]] = small
    cv2.putText(paper, title[:42], (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (30, 30, 30), 1, cv2.LINE_AA)
    return paper


def cut_lines(
    rgb: U8, name: str, tracker: BodyTracker, fitter: BodyFitter, cells: list[U8] | None
) -> list[str]:
    """What becomes of a picture's cuts."""
    whole = tracker.picture(rgb)
    lines = []
    for kind, part in ({} if whole is None else cuts(rgb, whole)).items():
        body = tracker.picture(part) if min(part.shape[:2]) >= 48 else None
        if body is None:
            lines.append(f"{name}, to the {kind}: no body found")
            continue
        try:
            fit = fitter.picture(body, (part.shape[1], part.shape[0]))
        except InputError:
            lines.append(f"{name}, to the {kind}: too little is seen, nothing is fitted")
            continue
        moved = "move" if fit.moving[list(s.LEGS)].any() else "rest"
        lines.append(
            f"{name}, to the {kind}: legs {moved}, bent {bends(fit):.3f}, pelvis off upright {leans(fit):.1f}"
        )
        if cells is not None:
            cells.append(cell(overlaid(part, fitter, fit, body), f"{name}, to the {kind}"))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=70)
    parser.add_argument("--poses", type=int, default=200)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    for noise in (0.0, 0.01):
        told = "{:.1f} mean, {:.1f} median, {:.1f} p95".format(*angles(options.poses, noise))
        print(
            f"joint angles, {options.poses} poses, {100 * noise:g} cm of noise: {told} (degrees)", flush=True
        )
    tracker = BodyTracker(every_frame=True)
    cells: list[U8] = []
    half: list[str] = []
    for path in files(options.folder, pictures=True):
        fitter = BodyFitter(synthetic_body())
        rgb = read_picture(path)
        body = tracker.picture(rgb)
        if body is None:
            print(f"{path.name}: no body found", flush=True)
            continue
        size = rgb.shape[1], rgb.shape[0]
        fit = fitter.picture(body, size)
        share = away(fitter, fit, body, size)
        print(f"{path.name}: {share:.2%}", flush=True)
        cells.append(cell(overlaid(rgb, fitter, fit, body), f"{path.stem} {share:.1%}"))
        half += cut_lines(rgb, path.stem, tracker, fitter, cells if len(cells) == 1 else None)
    for path in files(options.folder, pictures=False):
        fitter = BodyFitter(synthetic_body())
        tracker.reset()
        shares, frames = [], 0
        last: U8 | None = None
        for frame in frames_of(path, options.frames):
            frames += 1
            if frames == 1:
                half += cut_lines(frame.rgb, path.stem, tracker, BodyFitter(synthetic_body()), None)
            body = tracker.track(frame)
            fit = None if body is None else fitter.follow(body, frame.size)
            if body is not None and fit is not None:
                shares.append(away(fitter, fit, body, frame.size))
                if frames <= options.frames * 2 // 3:
                    last = overlaid(frame.rgb, fitter, fit, body)
        if not shares or last is None:
            print(f"{path.name}: nobody in {frames} frames", flush=True)
            continue
        told = f"{np.mean(shares):.2%} mean, {np.quantile(shares, 0.95):.2%} p95, {max(shares):.2%} most"
        print(f"{path.name}: {told}; fitted in {len(shares)} of {frames} frames", flush=True)
        cells.append(cell(last, f"{path.stem} {np.mean(shares):.1%}"))
    print("\n".join(half))
    tracker.close()
    if options.sheet is not None and cells:
        columns = 4
        cells += [np.full_like(cells[0], 245)] * (-len(cells) % columns)
        rows = [np.concatenate(cells[k : k + columns], axis=1) for k in range(0, len(cells), columns)]
        sheet = np.concatenate(rows)
        quality = [cv2.IMWRITE_WEBP_QUALITY, 82]
        if not cv2.imwrite(str(options.sheet), np.ascontiguousarray(sheet[..., ::-1]), quality):
            raise SystemExit(f"{options.sheet}: it could not be written")


if __name__ == "__main__":
    main()

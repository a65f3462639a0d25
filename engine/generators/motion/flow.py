"""The flow: where in the source picture each pixel of the patch comes from.

A triangle mesh is drawn at its target places into a coarse grid with a depth buffer; every cell keeps the source
place of the triangle nearest to the camera, so that a turned nose hides the far cheek and a chin hides the neck.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import compiled
from engine.types import F32


@compiled
def rasterise(
    target: F32, source: F32, triangles: np.ndarray, step: float, flow_x: F32, flow_y: F32, depth: F32
) -> None:
    """Draw `triangles` (T, 3) int32 at `target` (V, 3) pixels and write their `source` (V, 2) places.

    flow_x, flow_y, depth: float32 (G, G), overwritten. Cell j covers patch pixels around (j + .5) * step - .5. A cell
    that no triangle covers keeps its own place, so that a hole shows what was there and never a foreign pixel.
    """
    grid = flow_x.shape[0]
    for i in range(grid):
        for j in range(grid):
            flow_x[i, j] = (j + 0.5) * step - 0.5
            flow_y[i, j] = (i + 0.5) * step - 0.5
            depth[i, j] = np.float32(3e38)
    inverse = 1.0 / step
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        # Corners in cells.
        ax, ay = (target[a, 0] + 0.5) * inverse - 0.5, (target[a, 1] + 0.5) * inverse - 0.5
        bx, by = (target[b, 0] + 0.5) * inverse - 0.5, (target[b, 1] + 0.5) * inverse - 0.5
        cx, cy = (target[c, 0] + 0.5) * inverse - 0.5, (target[c, 1] + 0.5) * inverse - 0.5
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        top, bottom = max(0, int(np.ceil(min(ay, by, cy)))), min(grid - 1, int(np.floor(max(ay, by, cy))))
        left, right = max(0, int(np.ceil(min(ax, bx, cx)))), min(grid - 1, int(np.floor(max(ax, bx, cx))))
        if top > bottom or left > right:
            continue
        scale = 1.0 / area
        # Barycentric weights of b and c as linear functions of x and y.
        b_x, b_y = (cy - ay) * scale, (ax - cx) * scale
        c_x, c_y = (ay - by) * scale, (bx - ax) * scale
        b_0, c_0 = -(b_x * ax + b_y * ay), -(c_x * ax + c_y * ay)
        az, bz, cz = target[a, 2], target[b, 2] - target[a, 2], target[c, 2] - target[a, 2]
        au, bu, cu = source[a, 0], source[b, 0] - source[a, 0], source[c, 0] - source[a, 0]
        av, bv, cv = source[a, 1], source[b, 1] - source[a, 1], source[c, 1] - source[a, 1]
        for y in range(top, bottom + 1):
            row_b, row_c = b_0 + b_y * y, c_0 + c_y * y
            for x in range(left, right + 1):
                wb, wc = row_b + b_x * x, row_c + c_x * x
                if wb >= -1e-4 and wc >= -1e-4 and wb + wc <= 1.0001:
                    z = az + wb * bz + wc * cz
                    if z < depth[y, x]:
                        depth[y, x] = z
                        flow_x[y, x] = au + wb * bu + wc * cu
                        flow_y[y, x] = av + wb * bv + wc * cv

"""Meshes as a generator of flows sees them: drawn as face numbers and weights, matched, sampled, masked.

Conventions. Points are float32, x right, in -1..1 across a square picture whose outer edges are -1 and 1. Cameras and
flows have y DOWN, as pictures do; the rasteriser takes y UP, and `cameras.on_screen` turns one into the other. A flow
holds, for every pixel of the target, the place (x, y) in a source, or ABSENT twice where the source has nothing to
give. Pictures are float32 (3, S, S) in -1..1, masks float32 (S, S) with 1 = person, unless a docstring says otherwise.
"""

"""Frame graphs: a generator's network with its crop, blending and paste-back around it, in one ONNX file.

They are written by hand around the finished graphs of a bundle, without torch (docs/frame_graph.md).
"""

OWN = "frame_"
"""What the names of all nodes begin with that were written here, and those of a network do not."""

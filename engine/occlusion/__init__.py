"""What stands in front of a face: hands by their points, other things by what this face's skin has looked like."""

from engine.occlusion.occlusion import FaceOcclusion

__all__ = ["FaceOcclusion"]

"""The side that tracks and generates: in this process, or in one of its own that is watched and replaced."""

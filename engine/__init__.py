"""The engine: tracks a driver's face, extracts its motion, generates a picture, pastes it back.

It knows no network and no torch; see docs/architecture.md for the arrows.
"""

"""Why a portrait, or a camera's picture, will look bad: measured, and said with what mends it (docs/coach.md)."""

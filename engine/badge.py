"""The visible mark's former place."""

from engine.marks.badge import Badge as Badge

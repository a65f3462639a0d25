"""Parsing masks: which part of a head each pixel shows, as whole numbers of a named table of classes.

Conventions, everywhere in this room: labels are uint8 (H, W), never floats; a number means nothing without its table
(engine/parsing/classes.py); sides are those of the picture, not the person's; nothing here knows a network.
"""

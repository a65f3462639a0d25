"""A live check that whoever drives a portrait is the one in it: docs/self_check.md, with how often it errs."""

from engine.self_check.challenge import Challenge, Movement, Phase, ask, proceed
from engine.self_check.likeness import Likeness
from engine.self_check.result import Result, result_of
from engine.self_check.signs import Signs

__all__ = ["Challenge", "Likeness", "Movement", "Phase", "Result", "Signs", "ask", "proceed", "result_of"]

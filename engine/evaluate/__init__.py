"""How well a generator moves faces: the protocol, its figures, a report and contact sheets.

``evaluate`` is the one door. Results are kept per clip and per pair, so that an interrupted run goes on.
"""

from engine.evaluate.assembly import Metrics
from engine.evaluate.run import DEFAULT_PAIRS, evaluate

__all__ = ["DEFAULT_PAIRS", "Metrics", "evaluate"]

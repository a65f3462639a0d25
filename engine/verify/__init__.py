"""What a file says of itself: the badge, the watermark, the C2PA manifest, and the consent that it names.

    verdict = verify("clip.mp4")
    verdict.status, verdict.as_dict()

Nothing is fetched, nothing is kept, and nothing of this installation is needed but its records of consent.
"""

from engine.verify.looking import Asked, verify
from engine.verify.verdict import Status, Verdict

__all__ = ["Asked", "Status", "Verdict", "verify"]

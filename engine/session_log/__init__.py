"""What happened on this installation, one line each, in a form whose later change is found.

    note(Event.CONSENT_USED, consent="3f…", use="render")     # into the log of this process, whichever it is
    log = SessionLog()                                        # this installation's
    log.write(Event.CONSENT_USED, consent="3f…", use="render")

Appended only, each line with the SHA-256 of the line before, its end signed by this installation's key. It holds no
picture, no measure of a face, no token and no address. docs/session_log.md says what is found and what cannot be.
"""

from engine.session_log.checking import Position, Verified, verify
from engine.session_log.events import Event, batched
from engine.session_log.files import log_folder
from engine.session_log.journal import Journal, Keeping, NoJournal
from engine.session_log.log import Pruned, SessionLog
from engine.session_log.noting import note, note_first, noting_in, session_hash

__all__ = [
    "Event", "Journal", "Keeping", "NoJournal", "Position", "Pruned", "SessionLog", "Verified", "batched", "log_folder",
    "note", "note_first", "noting_in", "session_hash", "verify",
]  # fmt: skip

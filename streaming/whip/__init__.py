"""WHIP (RFC 9725) and WHEP (its draft 3) over HTTP: the endpoints, their resources, and what ICE says in between."""

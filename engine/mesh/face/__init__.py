"""The mesh of a head and its bust: the tracker's points, and a proxy for what it does not follow.

The tracked face is taken as it is. Eyes are closed by fans about the irises, the mouth by one about a point behind the
lips. Hair and skull are rings around the face oval that move with the head; neck and shoulders are a sheet that moves
less with it the lower it is, and hangs on a torso that stands still.
"""

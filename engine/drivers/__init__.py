"""Drivers that are no picture: what external trackers send, read strictly and turned into an Acting.

There is no network in here; streaming/trackers.py brings the packets.
"""

"""Calls of two people: a room by a link, where each publishes a session and watches the other's."""

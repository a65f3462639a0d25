"""Recordings of running sessions on the server, as their pictures leave: docs/recording.md."""

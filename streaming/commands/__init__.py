"""The sub-commands that need the network's side."""

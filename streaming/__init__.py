"""The only package that knows the network. Nothing is served yet: see the status table in the README."""

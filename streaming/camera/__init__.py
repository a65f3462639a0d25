"""Pictures for other programs of this machine, with no connection between: a virtual camera, a window, a file."""

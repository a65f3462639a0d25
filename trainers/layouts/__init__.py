"""The folders that the official projects train from, read into the same `trainers.faces.Faces`."""

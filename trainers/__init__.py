"""Trainers make weights. No system is trained yet: see the status table in the README."""

"""A clip of a person to a bundle that is tuned to that person: docs/enrolment.md."""

"""Rehearsals: a whole observatory in one thread, on virtual time."""

"""Rehearsals: a night of a whole observatory in one thread, on virtual time, over in-memory connections."""

"""A simulated camera, and the sky that it sees."""

"""``pyros alerts``."""

"""``pyros demo``."""

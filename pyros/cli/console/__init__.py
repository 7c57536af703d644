"""``pyros console``."""

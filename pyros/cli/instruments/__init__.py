"""``pyros instruments``."""

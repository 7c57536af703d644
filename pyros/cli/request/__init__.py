"""``pyros request``: what people want to be observed."""

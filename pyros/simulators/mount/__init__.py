"""A simulated mount: its mechanics, where it points, and the telescope on it."""

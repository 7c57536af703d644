"""Packets of every stream understood: one module a format, and one table of what is particular to each stream."""

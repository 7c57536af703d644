"""Alerts that are an area, as a site sees them: maps read, fields chosen by the night, coverage drawn."""

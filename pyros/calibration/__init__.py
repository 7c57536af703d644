"""Calibrations as plain functions: which exposure comes next, and what an image of one shows. No Twisted here."""

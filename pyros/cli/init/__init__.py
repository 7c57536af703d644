"""``pyros init``: an observatory of one's own, in a folder."""

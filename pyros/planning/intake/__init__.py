"""Requests from people: what they write in files and on the command line, on its way to an observation."""

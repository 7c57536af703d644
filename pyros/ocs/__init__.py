"""The dialect of the Observatory Control System (LCO), which TOM Toolkit speaks: dicts in, dicts out, no server.

What is asked for is honoured, or refused in the dialect's own form; nothing is ignored.
"""

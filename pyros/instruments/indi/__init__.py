"""The INDI driver: devices behind an ``indiserver``, or anything else that speaks the INDI protocol 1.7 over TCP."""

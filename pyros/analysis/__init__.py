"""What an image shows: calibration, sources, positions, magnitudes, and what is new in it. Plain functions of arrays.

No Twisted here; any thread may call it. The order of the work: `calibrate` with the masters there are, `find` the
sources, `match` them to a catalogue (which corrects the world coordinates), `zero_point`, `new_sources`. `analyse` does
all of it; `lightcurve` keeps what came out.
"""

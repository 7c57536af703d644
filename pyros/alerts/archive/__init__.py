"""The archive of all packets: stored as they came, found again by event, time, stream, words and position."""

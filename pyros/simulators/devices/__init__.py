"""The simulated devices of one file each."""

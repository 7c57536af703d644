"""The nights of the past: the majordome's diary, and each morning's report, gathered from the journals."""

"""The simulated guider as PHD2, the guiding program, lets itself be driven."""

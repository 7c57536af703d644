"""The simulated mount behind the LX200 language."""

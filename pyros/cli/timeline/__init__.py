"""What happens to one alert, step by step: read from the journals, and shown."""

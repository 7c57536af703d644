"""What the console keeps of people, in its own database: a Django app."""

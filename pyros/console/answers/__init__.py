"""What Django answers: pages, changes, orders, signing in, and errors."""

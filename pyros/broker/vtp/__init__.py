"""The broker's side of VTP, the VOEvent Transport Protocol: authors, subscribers, and other brokers."""

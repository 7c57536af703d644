"""``pyros jobs``: what the queues have, and what people ask of them."""

"""What makes an agent live: turns, the thread and journal around them, its port, and programs of agents."""

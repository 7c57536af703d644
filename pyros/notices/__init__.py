"""What people are told: rules, what was told already, and how it is sent. Plain Python; the agent is the notifier."""

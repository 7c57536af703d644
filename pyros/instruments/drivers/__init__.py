"""What drivers of different protocols share."""

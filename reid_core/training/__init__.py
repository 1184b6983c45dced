"""What a training step minimises, which parameters it moves, and the loop around it."""

"""From features to scores: evaluators of the params, their targets, what they leave."""

"""Default configurations for what a recipe's own configurations leave open."""

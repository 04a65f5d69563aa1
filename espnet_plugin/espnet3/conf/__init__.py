"""What a recipe's configurations leave open."""

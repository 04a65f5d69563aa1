"""What the corpora on disk have in common: finding their files, checking them, summing up."""

"""What frozen models say about a corpus, computed once and stored."""

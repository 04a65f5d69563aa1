"""Using a trained model: embeddings and keywords of speech, written down set by set."""

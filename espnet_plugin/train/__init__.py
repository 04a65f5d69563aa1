"""What ESPnet's training loop needs around the model."""

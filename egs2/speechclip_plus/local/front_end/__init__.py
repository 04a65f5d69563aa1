"""What an encoder is worth to others, on the mini corpus: small SUPERB, probes, ESPnet."""

"""Numbers and names that packages share which do not import each other."""

from __future__ import annotations

SAMPLING_RATE = 16000  # Hz of the recipe's recordings, of s3prl and of most speech encoders
# Start, end and number of CLIP's own tokens (byte pair encoding).
SOT_ID, EOT_ID, NUM_TOKENS = 49406, 49407, 49408
CHOICES_FILE = "choices.json"  # of stage 9, and beside the weights of a packed model

"""The embedded mini corpus: spoken captions, pictures, a small CLIP and a small HuBERT."""

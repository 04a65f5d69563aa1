"""The generated mini corpora: spoken captions, images, a small CLIP and a small HuBERT."""

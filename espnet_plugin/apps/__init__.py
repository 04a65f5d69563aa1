"""What builds on a model: an index and search in it, a demo page to try it, and a glossary."""

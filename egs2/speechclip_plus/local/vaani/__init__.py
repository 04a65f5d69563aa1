"""Vaani: people in India describe images in their languages (Pulikodan et al. 2026, 2603.28714)."""

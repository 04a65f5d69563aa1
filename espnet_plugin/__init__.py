"""SpeechCLIP+ for ESPnet: bridging speech and text through images, without transcripts."""

__version__ = "0.1.0"

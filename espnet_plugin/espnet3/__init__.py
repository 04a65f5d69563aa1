"""SpeechCLIP(+) as a system of ESPnet3: task, model, data and scores are those under ESPnet2."""

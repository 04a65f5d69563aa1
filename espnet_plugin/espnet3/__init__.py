"""SpeechCLIP(+) as a system of ESPnet3: the same task, model, data and scores as under ESPnet2."""

"""SpeechCLIP+ under ESPnet3: python run.py --stages train --training_config ..."""

from espnet3.systems.launch import launch

from espnet_plugin.espnet3.system import SpeechCLIPSystem

if __name__ == "__main__":
    launch(SpeechCLIPSystem, conf_package="espnet_plugin.espnet3")

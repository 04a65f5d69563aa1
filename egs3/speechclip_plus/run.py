"""SpeechCLIP+ under ESPnet3: python run.py --training_config conf/training_mini.yaml ..."""

from espnet3.systems.launch import launch

from espnet_plugin.espnet3.system import SpeechCLIPSystem

if __name__ == "__main__":
    launch(SpeechCLIPSystem, conf_package="espnet_plugin.espnet3")

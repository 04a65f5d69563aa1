"""SpeechCLIP+ under ESPnet3: python run.py --stages train --training_config ..."""

import sys

# ESPnet3 makes one, too, but takes eight seconds to import
HELP = """usage: python run.py --training_config conf/training_mini.yaml --stages train

  --stages NAME [NAME ...]     create_dataset, embed_images, make_vocabulary, collect_stats, train,
                               infer, measure, pack_model, upload_model; or all, the default
  --training_config FILE       of the stages up to train
  --inference_config FILE      of infer
  --metrics_config FILE        of measure
  --publication_config FILE    of pack_model and upload_model
  --dry_run                    show what would run
  --write_requirements         list the installed packages beside each stage's log
  -h, --help                   show this"""

if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(HELP)
        sys.exit()
    from espnet3.systems.launch import launch

    from espnet_plugin.espnet3.system import SpeechCLIPSystem

    launch(SpeechCLIPSystem, conf_package="espnet_plugin.espnet3")

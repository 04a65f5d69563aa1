#!/usr/bin/env bash
# The recipes of SpeechCLIP+ on a small generated corpus: egs2's, and egs3's on the same data.
set -euo pipefail

source tools/activate_python.sh
cwd=$(pwd)
python="coverage run --append"

if ! python3 -c "import espnet_plugin" &> /dev/null; then
    tools/installers/install_speechclip_plus.sh "${SPEECHCLIP_PLUS:?a checkout or wheel of speechclip-plus, with [recipe,mini]}"
fi

# frozen models that are barely trained: this only tests that everything runs
export MINI_OPTS="--corpus_train_images 16 --corpus_dev_images 4 --corpus_test_images 4 \
    --corpus_utterances_per_block 40 --teacher_steps 2 --teacher_batch_size 8 --teacher_warmup_steps 1 \
    --encoder_steps 2 --encoder_batch_size 8 --encoder_warmup_steps 1 --encoder_units 8"

cd egs2/speechclip_plus/speechclip1
echo "==== [ESPnet2] SpeechCLIP+ ==="
./run.sh --stage 1 --stop-stage 10 --nj 1 --inference-nj 1 --max-bad 0.5 --python "${python}" \
    --speechclip-args "--max_epoch 1 --batch_size 8 --num_workers 0"

if python3 -c "import espnet3, lightning" &> /dev/null; then
    echo "==== [ESPnet3] SpeechCLIP+ ==="
    cd "${cwd}/egs3/speechclip_plus/speechclip"
    ln -sfn ../../../egs2/speechclip_plus/speechclip1/{data,dump,downloads} .
    sed 's/^model:$/model:\n  max_epoch: 1\n  batch_size: 8\n  num_workers: 0/' conf/training_mini.yaml > conf/training_ci.yaml
    ${python} run.py --training_config conf/training_ci.yaml --inference_config conf/inference_mini.yaml \
        --metrics_config conf/metrics_mini.yaml --publication_config conf/publication.yaml \
        --stages create_dataset embed_images make_vocabulary collect_stats train infer measure pack_model
    rm -rf exp data dump downloads conf/training_ci.yaml
fi

cd "${cwd}/egs2/speechclip_plus/speechclip1"
rm -rf exp data dump downloads

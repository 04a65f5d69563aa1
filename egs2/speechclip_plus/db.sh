#!/usr/bin/env bash
# shellcheck disable=SC2034
# Where the corpora are on the disk. Environment variables of the same names win.
# mini needs nothing: it is generated.

# Flicker8k_Dataset/, Flickr8k.token.txt and the split lists (there or in Flickr8k_text/),
# flickr_audio/{wavs,wav2capt.txt,wav2spk.txt}
FLICKR8K=${FLICKR8K:-}
# recordings/ of the Free Spoken Digit Dataset
FSDD=${FSDD:-}
# SpokenCOCO_{train,val}.json, wavs/, and Karpathy's splits: SpokenCOCO_ksplit_{train,val,test}.json (there or in
# ksplit/) or dataset_coco.json (there or in MSCOCO's folder)
SPOKENCOCO=${SPOKENCOCO:-}
# train2014/ and val2014/
MSCOCO=${MSCOCO:-}

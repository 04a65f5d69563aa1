"""SpokenCOCO: the captions of MSCOCO 2014, read aloud.

Hsu, Harwath, Song, Glass 2021, ACL ("Text-Free Image-to-Speech Synthesis"); Lin et al. 2014, ECCV.
"""

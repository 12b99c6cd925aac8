"""Corpora: tables of frames with libvmaf's features and scores, read, packed and built."""

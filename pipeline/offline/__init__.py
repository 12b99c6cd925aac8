"""Making base models from corpora: training with whole sources left out, and evaluation."""

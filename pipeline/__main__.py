"""`python -m pipeline`: the same as `vmafx-sidecar`, with this interpreter."""

from pipeline.cli import main

main()

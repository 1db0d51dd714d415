"""Train one model. `python train.py --help` shows what can be set; `attnlab train` is the same."""

import sys

from attnlab.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

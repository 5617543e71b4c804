"""Pre-train a backbone as a Ray job, with the flags of the command line.

ray job submit --working-dir . -- python jobs/pretrain.py SOURCE --out DIR [--set pretrain.steps=N ...]
"""

import sys

from datus2_ray.cli.app import main

if __name__ == "__main__":
    sys.argv[1:1] = ["pretrain"]
    main()

"""Run every step as a Ray job, with the flags of the command line.

ray job submit --working-dir . -- python jobs/run.py SOURCE --out RUN [--clusters K ...]
"""

import sys

from datus2_ray.cli.app import main

if __name__ == "__main__":
    sys.argv[1:1] = ["run"]
    main()

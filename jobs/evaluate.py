"""Print the scores of finished runs as a Ray job, with the flags of the command line.

ray job submit --working-dir . -- python jobs/evaluate.py RUN [RUN ...] [--out FILE]
"""

import sys

from datus2_ray.cli.app import main

if __name__ == "__main__":
    sys.argv[1:1] = ["evaluate"]
    main()

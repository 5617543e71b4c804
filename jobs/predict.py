"""Label new images with a finished run's clusters as a Ray job, with the flags of the command line.

ray job submit --working-dir . -- python jobs/predict.py RUN NEW_IMAGES --out MASKS
"""

import sys

from datus2_ray.cli.app import main

if __name__ == "__main__":
    sys.argv[1:1] = ["predict"]
    main()

"""Pack images into Parquet shards as a Ray job, with the flags of the command line.

ray job submit --working-dir . -- python jobs/ingest.py SOURCE --out SHARDS [--limit N ...]
"""

import sys

from datus2_ray.cli.app import main

if __name__ == "__main__":
    sys.argv[1:1] = ["ingest"]
    main()

"""``python -m datus2_ray``."""

from datus2_ray.cli.app import main

main()

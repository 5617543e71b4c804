"""`datus2 experiment`: runs of several variants in one run folder, and the table that compares them."""

"""The steps of a run, a file each: what each reads, what it writes, and how Ray spreads it."""

"""Commands and flags of the command line; no logic."""

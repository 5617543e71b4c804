"""Operators that more than one stage uses, and what decides their results."""

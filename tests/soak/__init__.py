"""Loops over sessions that have to run in flat memory."""

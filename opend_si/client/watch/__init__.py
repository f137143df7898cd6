"""Watching symbols: what is news of a list, reported once.

watching    whom to ask for what, and what has not been reported
schedule    when there may be news, and the clock
places      how far the record of each symbol was reported, in a file
"""

"""What is asked of the operating system, by whatever reads and writes files and may be forked.

home    the folder of a user's files, and what they are called
files   a path that a user names, and an output that is there whole or not at all
forks   what a forked child has to begin anew; locks that a fork and an interrupt leave free
"""

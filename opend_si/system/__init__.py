"""What is asked of the operating system, by whatever reads and writes files and may be forked.

home     the folder of a user's files, and what they are called
files    a path that a user names, and an output that is there whole or not at all
sharing  who may use what is made beside a record
ours     a file that this package makes, and what can be wrong with it, in words
leases   rights that processes take for a while, in a small file
locks    a lock on an open file or folder
clocks   both of the system's clocks, and what is left of what lasts
forks    what a forked child has to begin anew; locks that a fork and an interrupt leave free
"""

"""What is kept on this machine: the page cache and the rate budget, each in an SQLite file of its own.

database    opening the files: versions, locks, errors told apart by code
connection  SQLite's failures, all of one kind
store       recorded pages: bytes as received, versions kept, checksums verified
guard       the store with its failure policy: online it degrades with a warning, offline it raises
budget      one rate budget for all processes
upkeep      info, verify, export
"""

"""What is kept: the page cache, an SQLite file; beside it, in small files of leases, what processes must agree on.

database    opening the files: versions, locks, errors told apart by code
connection  SQLite's failures, all of one kind
layout      the tables of the record's file, and the steps from one version of them to the next
versions    what a record holds of a symbol, and the order in which it came to know it
runs        when the rows of a version were first seen
sequence    the numbers of events, and how the clock ran
store       recorded pages: bytes as received, versions kept, checksums verified
past        versions that no history of now needs, told by their rows so that they can be given back to the byte
blocks      the past in the record's file
claims      which pages are being fetched now
guard       the store with its failure policy: online it degrades with a warning, offline it raises
budget      one rate budget for all processes that share a folder
reading     a record symbol by symbol: read, taken out, put in; which files of columns lie beside it
files       what systems do differently with a file of SQLite's
"""

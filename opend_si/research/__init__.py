"""Many symbols at once, from the record alone. Nothing here opens a socket.

panel      recorded histories as one Arrow table or one long DataFrame
columns    the file beside the record from which they are read; what it lacks is read from pages
batch      recorded pages into blocks of rows: symbols about which there is nothing to decide, many at once in arrays
arrow      the bytes of replies into Arrow, blocks of rows into tables, and their schema
export     tables as files
screen     the latest rows of a market, ranked
news       what is new in the record since a moment, and what was revised
changes    what a row changed against the one before it
chart      a picture of a history
"""

"""What the recorded pages of a symbol say together. No room below knows what a page means.

record        the record as questions use it: kept in memory, and grown by what is recorded
symbol        what is recorded of one symbol: the pages that it answers, and what a new reply does to it
memory        values kept in memory, bounded by what they weigh
statements    what one reply says, and when it is fit for a history
ledger        what all replies say together, and what of it can be trusted
walk          which pages answer a question, and which must be fetched
vintages      when each value was first seen, and which were revised later
frames        a history and its revisions as DataFrames
kept          frames that were given lately, to be given again
overview      of each symbol how much there is, from when, and from whom
joining       one record joined into another
merging       two records of one symbol made into one
upkeep        whether a record is sound, a smaller one to hand on, and what of it is to go
"""

"""What the recorded pages of a symbol say together. No room below knows what a page means.

record        the recorded pages of a symbol, read for the ledger and made into pages
statements    what one reply says, and when it is fit for a history
ledger        what all replies say together, and what of it can be trusted
walk          which pages answer a question, and which must be fetched
vintages      when each value was first seen, and which were revised later
frames        a history and its revisions as DataFrames
prune         the superseded versions that no history needs
"""

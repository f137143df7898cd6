"""The engine behind `futu_si` and `moomoo_si`: hand-written, brand-neutral, shared by both.

    symbols, errors, settings    values without I/O
    wire                         the framing and the conversation with OpenD; then the blocking connection
    pages, tables                a page of rows, and its way into records and DataFrames
    client, dropin               what the faces render on
    simulator                    an OpenD stand-in that speaks the real wire
    cli                          the console, given a brand

Import the faces, not this package: its names may change in any release.
"""

__version__ = "0.1.0"

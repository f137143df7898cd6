"""The engine behind `futu_si` and `moomoo_si`: hand-written, brand-neutral, shared by both.

Its rooms, from the top down, and what each may import besides itself and the values at the root. tests/test_house.py
reads this table and fails on an arrow that is not in it:

    cli        > gateway, client, history, research, simulator
                                                               a command line, given a client class
    gateway    > client, server, wire                          an OpenD in front of OpenD
    client     > research, history, cache, wire                how a question is answered
    research   > history, cache                                many symbols at once, from the record alone
    history    > cache                                         what the recorded pages of a symbol say together
    cache      >                                               an SQLite file, and the budget; they know no meaning
    simulator  > server, wire                                  an OpenD made up
    server     > wire                                          OpenD's side of the wire
    wire       >                                               framing, ciphers, a session; both connections

The values at the root. Each may import those after it:

    pages       which page is asked for, and the one that came; which call a kind is; what a reply's bytes say
    tables      rows on their way to records and DataFrames
    settings    argument, then environment, then default
    symbols     `HK.00700`, and what users mean by other notations
    dates       days and moments: what users write, when there may be news; by when a row is public, by the calendars
    system      where files are; that they are there whole or not at all; what a forked child has to begin anew
    errors      every exception, in one tree; the warning; texts from outside, shown so that nothing obeys them

docs/inside.md walks through the house. Import the faces, not this package: its names may change in any release.
"""

__version__ = "0.1.0"

"""What differs between two datasets, or two revisions of one: `diff`.

`sides` opens each of the two, `compare` finds what differs, `report` says it. Only the command line
imports it.
"""

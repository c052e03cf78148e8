"""Which rows a source gives: the plan as Arrow columns, and what a user reads about a plan.

`table` holds the rows of any number of files; `report` is `plan`, with `hints` and
`suggest_layout`. No image is opened here. The package may import `engines`, `options` and the
script.
"""

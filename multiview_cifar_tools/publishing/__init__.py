"""A dataset on the Hub: `publish`, in one commit.

`publish` is the one function; `inputs` makes the shards (of a built dataset, or of a source), `hub`
speaks with the repository, `card` writes its README.md and picture. It may import everything but
the command line; nothing but the command line imports it.
"""

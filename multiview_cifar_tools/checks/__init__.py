"""What is wrong in a folder of images: `check` reports it, `quarantine` moves bad files aside.

`folder` has `check`: `images` opens every image, `findings` and `duplicates` compare them, `report`
is what comes of it; `quarantine` moves files and puts them back. It may import `previews.html` and
what is below it; only the command line imports it.
"""

"""A dataset to look at: `preview` writes a page, `contact_sheet` draws a picture.

`page` writes the page of what `samples` reads, `sheet` draws the picture, `images` makes one image
fit for a screen, `html` is the frame of every page (of `checks` too). It may import `loading` and
what is below it; the command line, `checks` and `publishing` import it.
"""

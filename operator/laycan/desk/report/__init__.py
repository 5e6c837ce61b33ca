"""The report: one page that holds a book, its plan and the proof of it, and needs nothing but a browser.

`page_of` makes the page's model of a problem and a plan, `render` writes it down. Both are pure: same input, same bytes.
"""

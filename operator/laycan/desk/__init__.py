"""What presents the book to people: pages and drawings made of a problem and its plan."""

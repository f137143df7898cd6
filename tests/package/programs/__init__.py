"""Programs beside the tests: the matrix and what it runs, the public names as text, a typed program."""

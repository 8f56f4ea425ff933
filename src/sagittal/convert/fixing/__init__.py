"""What is wrong with files and can be put right: a table of repairs, what they look for, and the rewriting."""

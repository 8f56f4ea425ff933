"""The pool of worker processes: where native decoders and long Python run, away from the serving process."""

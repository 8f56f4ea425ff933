"""Files on their way out: what they hold, what is changed in them, C-STORE and STOW-RS."""

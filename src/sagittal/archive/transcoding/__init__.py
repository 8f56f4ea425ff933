"""Objects in other transfer syntaxes than they are stored in."""

"""What finding needs beyond columns: words of names, dates in other time zones, attributes indexed by configuration."""

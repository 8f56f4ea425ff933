"""The rest of a query's way: taken apart, read from metadata where no index answers, returned, and paged through."""

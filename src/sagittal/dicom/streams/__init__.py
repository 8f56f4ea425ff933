"""What the head of a compressed image or video says of itself: the transfer syntax it needs, its size, its samples."""

"""What lies over an image: overlay planes, shutters, graphics and text, segments and structures."""

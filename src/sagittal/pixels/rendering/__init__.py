"""From stored pixel values to what is looked at: the transformations of PS3.3 C.11 and what lies over the picture."""

"""Images to segments and descriptors."""

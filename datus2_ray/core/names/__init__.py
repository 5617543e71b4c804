"""Names that a person gives to clusters and single segments, and the masks of classes that follow from them."""

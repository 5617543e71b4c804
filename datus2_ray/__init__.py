"""DatUS²: segments and classes in images without a single label, as a batch system on Ray."""

__version__ = "0.1.0"

"""The mathematics of DatUS²: NumPy and Torch in, NumPy and Torch out; knows neither Ray nor files."""

"""A head learned without labels: tokens to codes that tell apart what the images hold."""

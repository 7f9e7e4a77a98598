"""The shared platform: a data product's contract goes in, everything derivable from it comes out."""

"""Occluded persons for reid-core: parts that masks teach, compared where both images show them."""

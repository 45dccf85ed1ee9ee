"""What is found on real parts, by the product and by what it is measured against."""

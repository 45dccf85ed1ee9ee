"""Normal parts -> centroid, whitening, threshold and the claim that they support. Writes artifacts/profile.*"""

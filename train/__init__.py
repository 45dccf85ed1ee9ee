"""Learn the embedding from normal parts, and from defects where there are some. Writes artifacts/embedding.*"""

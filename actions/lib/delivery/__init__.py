"""The delivery itself, in plain Python: what the actions and sensors of this pack are made of."""

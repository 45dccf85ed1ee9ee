"""Judge pictures with what was trained and calibrated; one line of JSON each."""

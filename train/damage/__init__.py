"""Synthetic damage: normal pictures that are spoilt on purpose, to judge which statistic sees damage that nobody showed."""

"""Regression check: has a change of the code changed accuracy, cost or speed?"""

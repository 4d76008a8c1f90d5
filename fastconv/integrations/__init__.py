"""Operators behind the interfaces of other packages; each module needs only the package it is named after."""

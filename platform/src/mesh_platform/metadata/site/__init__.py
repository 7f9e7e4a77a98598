"""The static catalog: pages about the mesh that open from a file, with no server and no network.

`facts` and `lake_facts` gather what pages are made from, `pages` lays it out, `plots` and `drawing` draw, `write`
puts only changed pages on disk, and `build` does all of it.
"""

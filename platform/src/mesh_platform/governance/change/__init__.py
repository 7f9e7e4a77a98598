"""The effect of a change: the differences between the mesh and git, whom they concern, and what they require.

`base` and `changes` find what changed, the `*_differences` what that means for readers and producers, `impact` the
columns downstream, `assessment` the required versions and consents, and `diff` combines all of it.
"""

"""What a change does: the mesh as it stands and as git has it arrive; what differs, for whom, and what it asks leave.

`base` and `changes` say what differs from where, the `*_differences` what that means to those who rely on it, `reach`
where columns flow to, `assessment` which version and whose consent follow, and `diff` tells all of it.
"""

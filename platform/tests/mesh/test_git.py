"""Calls of git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mesh_platform.mesh.git import git


def test_the_error_is_told_and_not_the_mount_point_at_which_git_stopped_to_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As below a mount point, such as a home folder on a disk of its own; a test cannot mount one."""
    error = "fatal: not a git repository (or any parent up to mount point /home)"
    script = tmp_path / "git"
    script.write_text(f"#!/bin/sh\necho '{error}' >&2\necho 'Stopping at filesystem boundary.' >&2\nexit 128\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert git(tmp_path, "status").words == error


def test_without_a_complaint_the_exit_code_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = tmp_path / "git"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert git(tmp_path, "status").words == "git status ended with 3."

"""A folder that somebody filled to be undeletable is deleted all the same, and nothing outside of it."""

from __future__ import annotations

import os

from jupyterhub_vessl.trees import remove_tree


def test_a_tree_deeper_than_pythons_recursion_is_deleted(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    folder = os.open(home, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=folder)
        deeper = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)
    remove_tree(home)
    assert not home.exists()


def test_read_only_folders_are_deleted(tmp_path):
    inner = tmp_path / "home/cache"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    inner.chmod(0o500)
    remove_tree(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    home = tmp_path / "home"
    home.mkdir()
    (home / "away").symlink_to(outside)
    (home / "file").symlink_to(kept)
    remove_tree(home)
    assert outside.stat().st_mode & 0o777 == 0o500
    assert kept.read_text() == "kept"
    link = tmp_path / "link"
    link.symlink_to(outside)
    remove_tree(link)
    assert outside.exists()
    assert not link.is_symlink()


def test_what_is_not_there_needs_nothing(tmp_path):
    (tmp_path / "kept").mkdir()
    remove_tree(tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]

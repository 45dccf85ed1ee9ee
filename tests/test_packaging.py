"""What holds the project together: who may import whom, the one command, and what a fresh clone needs."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from senbetsu.cli import PROGRAMS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = [name.replace("-", "_") for name in PROGRAMS]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
needs_git = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a checkout with git"
)


def imported_by(folder: Path) -> set[str]:
    """Top-level names that the files of a folder import, read from their syntax trees."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
                names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("program", PACKAGES)
def test_a_program_imports_senbetsu_and_no_other_program(program: str) -> None:
    imported = imported_by(ROOT / program)
    assert "senbetsu" in imported
    assert imported & set(PACKAGES) <= {program}


def test_senbetsu_imports_no_program() -> None:
    assert imported_by(ROOT / "senbetsu") & set(PACKAGES) == set()


def test_import_linter_knows_every_program_and_finds_nothing() -> None:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    assert sorted(contracts[0]["modules"]) == sorted(contracts[1]["forbidden_modules"]) == sorted(PACKAGES)
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_git
def test_every_program_folder_is_packaged_type_checked_and_started_by_the_command() -> None:
    tracked = subprocess.run(["git", "ls-files", "*/__main__.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    folders = {line.split("/")[0] for line in tracked.stdout.splitlines() if line.count("/") == 1} - {"demo"}
    assert folders == set(PACKAGES)
    packaged = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    # Not bench*: that would be benchmarks too.
    assert {f"{name}*" if name != "bench" else name for name in [*PACKAGES, "senbetsu"]} == set(packaged)
    assert {*PACKAGES, "senbetsu", "benchmarks", "demo"} <= set(PYPROJECT["tool"]["mypy"]["packages"])


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("senbetsu"), *arguments], cwd=cwd, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_the_command_names_every_program(tmp_path: Path) -> None:
    done = command("--help", cwd=tmp_path)
    assert done.returncode == 0
    for name, purpose in PROGRAMS.items():
        assert f"{name} " in done.stdout
        assert purpose in done.stdout


@pytest.mark.parametrize("program", ["bridge", "simulated-plc", "score"])
def test_the_command_starts_a_program_from_any_folder(program: str, tmp_path: Path) -> None:
    done = command(program, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: senbetsu {program}")


def test_a_folder_that_is_called_as_a_program_does_not_take_its_place(tmp_path: Path) -> None:
    (tmp_path / "bridge").mkdir()
    (tmp_path / "bridge/__main__.py").write_text("raise SystemExit('the wrong one')")
    assert command("bridge", "--help", cwd=tmp_path).stdout.startswith("usage: senbetsu bridge")


def test_an_unknown_program_is_named_and_the_known_ones_with_it(tmp_path: Path) -> None:
    done = command("brigde", cwd=tmp_path)
    assert done.returncode == 2
    assert "no program 'brigde'" in done.stderr
    assert "bridge" in done.stderr


@needs_make
@pytest.mark.parametrize("target", ["install", "demo", "test", "test-slow", "check", "bench"])
def test_make_has_every_target(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


@needs_make
def test_install_is_done_once_and_again_only_when_the_dependencies_change(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    dependencies = tmp_path / "pyproject.toml"
    dependencies.write_text("")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" >> calls\n')
    python.chmod(0o755)

    def calls_after_install() -> list[str]:
        subprocess.run(["make", "install"], cwd=tmp_path, check=True, capture_output=True, timeout=30)
        return (tmp_path / "calls").read_text().splitlines()

    first = calls_after_install()
    assert first
    assert all(call.startswith("-m pip ") for call in first)
    assert any(".[demo,dev]" in call for call in first)
    assert calls_after_install() == first
    stamp = next(path for path in (tmp_path / ".venv").iterdir() if path.is_file())
    os.utime(dependencies, ns=(stamp.stat().st_mtime_ns + 10**9,) * 2)
    assert calls_after_install() == first * 2


@needs_make
def test_an_install_that_fails_is_tried_again(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").write_text("")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    for _ in range(2):
        done = subprocess.run(["make", "install"], cwd=tmp_path, capture_output=True, timeout=30, check=False)
        assert done.returncode != 0


@needs_make
def test_what_ci_runs_is_make_test_and_ends_with_its_status(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy2(ROOT / ".ci/run", tmp_path / ".ci/run")
    for status in (0, 1):
        (tmp_path / "Makefile").write_text(f"test:\n\t@exit {status}\nall:\n\t@exit 7\n")
        done = subprocess.run([tmp_path / ".ci/run"], cwd=tmp_path.parent, capture_output=True, timeout=30, check=False)
        assert (done.returncode == 0) == (status == 0)


def test_the_licence_is_apache_2_in_full() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    for section in (
        "1. Definitions.",
        "4. Redistribution.",
        "7. Disclaimer of Warranty.",
        "END OF TERMS AND CONDITIONS",
    ):
        assert section in text
    assert PYPROJECT["project"]["license"] == "Apache-2.0"


@needs_git
def test_what_the_demo_makes_is_not_part_of_the_project() -> None:
    def ignored(path: str) -> bool:
        asked = subprocess.run(["git", "check-ignore", "-q", "--no-index", path], cwd=ROOT, check=False, timeout=30)
        return asked.returncode == 0

    for made in (
        "demo/rejects.png",
        "demo/data/a.png",
        "demo/artifacts/profile.json",
        "demo/logs/daemon.log",
        ".venv/x",
    ):
        assert ignored(made), made
    for kept in ("demo/__main__.py", "demo/elpv.py", "docs/demo.png", "senbetsu/images.py"):
        assert not ignored(kept), kept

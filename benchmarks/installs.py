"""What each candidate runtime costs to install, and where it has ready-made wheels.

    python benchmarks/installs.py

Installs each set of packages into an empty folder with pip (which may use its cache; nothing in
this environment changes), and asks pip, without downloading, whether wheels exist for the other
systems. "Newest file" is the latest date inside the main wheel: close to its release.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

SETS = {
    "onnxruntime (fabula)": ["onnxruntime", "tokenizers", "safetensors", "numpy"],
    "llama.cpp (xllamacpp)": ["xllamacpp"],
    "llama.cpp (llama-cpp-python)": ["llama-cpp-python"],
    "onnxruntime-genai": ["onnxruntime-genai"],
    "transformers on torch": ["transformers", "torch"],
}
SYSTEMS = {
    "Linux": ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64"],
    "macOS": ["macosx_14_0_arm64", "macosx_13_0_arm64", "macosx_11_0_arm64"],
    "Windows": ["win_amd64"],
}
SIZES_ONLY = {"transformers on torch"}
"""Not installed here: torch alone takes most of a gigabyte."""


def pip(*arguments: str) -> bool:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def has_wheel(package: str, tags: list[str]) -> bool:
    chosen = [argument for tag in tags for argument in ("--platform", tag)]
    return pip(
        "install", "--dry-run", "--no-deps", "--only-binary=:all:", "--target", "unused", *chosen,
        package,
    )  # fmt: skip


def newest_file(package: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        if not pip("download", "--no-deps", "--only-binary=:all:", "-d", scratch, package):
            return "no wheel"
        wheel = next(Path(scratch).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            newest = max(info.date_time[:3] for info in archive.infolist())
        version = wheel.name.split("-")[1]
        return f"{version}, {newest[0]}-{newest[1]:02}-{newest[2]:02}"


def main() -> None:
    print(f"Python {platform.python_version()} on {platform.system()}\n")
    print("| packages | newest file | installed MB | install s | " + " | ".join(SYSTEMS) + " |")
    print("|---|---|--:|--:|" + "---|" * len(SYSTEMS))
    for name, packages in SETS.items():
        size = seconds = ""
        if name not in SIZES_ONLY and has_wheel(packages[0], SYSTEMS["Linux"]):
            with tempfile.TemporaryDirectory() as target:
                started = time.perf_counter()
                pip("install", "--target", target, *packages)
                seconds = f"{time.perf_counter() - started:.0f}"
                files = [file for file in Path(target).rglob("*") if file.is_file()]
                size = f"{sum(file.stat().st_size for file in files) / 1e6:.0f}"
        wheels = ["yes" if has_wheel(packages[0], tags) else "no" for tags in SYSTEMS.values()]
        cells = [name, newest_file(packages[0]), size, seconds, *wheels]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

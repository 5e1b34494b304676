"""Unpacks what libtorch needs on a CPU from the wheels in a folder. Arguments: that folder, the destination."""

import pathlib
import shutil
import sys
import zipfile

wheels, destination = map(pathlib.Path, sys.argv[1:3])
libraries = ("torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp")
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = entry.filename
            if entry.is_dir():
                continue
            if name.startswith("torch/include/") or name.startswith(libraries):
                target = destination / name.removeprefix("torch/")
            elif "/lib/libcudart.so." in name or "/lib/libcupti.so." in name:
                target = destination / "lib" / pathlib.PurePosixPath(name).name
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)

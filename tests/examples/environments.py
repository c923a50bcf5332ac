"""A folder of made-up distributions to audit, sound and damaged in every way that the audit knows."""

import hashlib
from base64 import urlsafe_b64encode
from pathlib import Path

SOUND = ("apple", "birch", "cedar", "dogwood", "elm", "fir")


def install(site: Path, name: str, files: dict[str, bytes]) -> Path:
    """Install a distribution as pip would and return its metadata folder."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    written = {f"{name}/{file}": content for file, content in files.items()}
    written[f"{info.name}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()

    rows = []
    for path, content in written.items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_bytes(content)
        digest = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}")
    rows += [f"{name}/__pycache__/__init__.cpython-311.pyc,,", f"{info.name}/RECORD,,"]
    (info / "RECORD").write_text("\n".join(rows) + "\n")
    return info


def sound_environment(site: Path) -> None:
    """Install distributions of which every file is what RECORD says."""
    for name in SOUND:
        install(site, name, {"__init__.py": f"NAME = {name!r}\n".encode(), "data.bin": name.encode() * 100})


def damaged_environment(site: Path) -> None:
    """Install sound distributions, and one for each damage."""
    sound_environment(site)
    install(site, "hash", {"__init__.py": b"one = 1\n"})
    (site / "hash/__init__.py").write_bytes(b"one = 2\n")
    install(site, "size", {"__init__.py": b"one = 1\n"})
    (site / "size/__init__.py").write_bytes(b"one = 1\n\n")
    install(site, "missing", {"__init__.py": b"", "gone.py": b"gone = True\n"})
    (site / "missing/gone.py").unlink()
    (install(site, "unrecorded", {"__init__.py": b""}) / "RECORD").unlink()
    (install(site, "nameless", {"__init__.py": b""}) / "METADATA").write_bytes(b"Metadata-Version: 2.1\n")
    (install(site, "garbled", {"__init__.py": b""}) / "RECORD").write_bytes(b"\xff\xfe not a RECORD")

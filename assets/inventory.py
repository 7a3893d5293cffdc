#!/usr/bin/env python3
"""What is in the two programs: a CycloneDX list of components and the texts of their licences, from Cargo.lock.

    inventory.py TRIPLE OUT_FOLDER [LIBPCAP_FOLDER]

For each program one sbom-PROGRAM.cdx.json, and one THIRD-PARTY.txt for both. Nothing in them depends on the time or the
machine. Needs no network where the crates are there. LIBPCAP_FOLDER has the LICENSE and VERSION of a libpcap that was linked
statically, which is no crate.
"""
import json
import pathlib
import re
import subprocess
import sys

PROGRAMS = ["nodewatch-agent", "nodewatch-tui"]
LICENCE = re.compile(r"^(licen[cs]e|copying|notice|unlicense|copyright)", re.IGNORECASE)


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments, "--locked"], check=True, capture_output=True, text=True).stdout


def components(program, triple, packages):
    """The crates that are linked into a program, without those that only build it."""
    tree = cargo("tree", "-p", program, "-e", "normal", "--target", triple, "--prefix", "none", "-f", "{p}")
    found = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    return [packages[name, version.lstrip("v")] for name, version in sorted(found)]


def component(package, sums):
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version}"
    one = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if package["license"]:
        # Slashes are how crates wrote OR before SPDX.
        one["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if (name, version) in sums:
        one["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
    return one


def licences(packages):
    """Each text once, after the crates that it is of."""
    texts, without = {}, []
    for package in packages:
        folder = pathlib.Path(package["manifest_path"]).parent
        files = sorted(file for file in folder.iterdir() if file.is_file() and LICENCE.match(file.name))
        for file in files:
            text = file.read_text(encoding="utf-8", errors="replace").strip()
            texts.setdefault(text, []).append(f"{package['name']} {package['version']}")
        if not files:
            without.append(f"{package['name']} {package['version']}: {package['license']}")
    rule = "=" * 80
    parts = [f"{rule}\n{', '.join(sorted(set(crates)))}\n{rule}\n\n{text}\n" for text, crates in
             sorted(texts.items(), key=lambda both: both[1])]
    if without:
        parts.append(f"{rule}\nCrates that come without the text of their licence\n{rule}\n\n" + "\n".join(without) + "\n")
    return "\n".join(parts)


def libpcap(folder):
    """The component and the licence's text of a library that is no crate."""
    if folder is None or not (folder / "LICENSE").exists():
        return [], ""
    version = (folder / "VERSION").read_text().strip()
    text = (folder / "LICENSE").read_text(encoding="utf-8", errors="replace").strip()
    purl = f"pkg:generic/libpcap@{version}"
    rule = "=" * 80
    one = {"type": "library", "bom-ref": purl, "name": "libpcap", "version": version, "purl": purl,
           "licenses": [{"expression": "BSD-3-Clause"}]}
    return [one], f"{rule}\nlibpcap {version}\n{rule}\n\n{text}\n\n"


def main():
    triple, out = sys.argv[1], pathlib.Path(sys.argv[2])
    pcap, pcap_licence = libpcap(pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    out.mkdir(parents=True, exist_ok=True)
    metadata = json.loads(cargo("metadata", "--format-version", "1"))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    lock = pathlib.Path("Cargo.lock").read_text(encoding="utf-8")
    sums = {(name, version): checksum for name, version, checksum in re.findall(
        r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"', lock)}
    foreign = {}
    for program in PROGRAMS:
        inside = components(program, triple, packages)
        own = next(package for package in inside if package["name"] == program)
        bom = {
            "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            "metadata": {"component": {**component(own, sums), "type": "application"}},
            "components": [component(package, sums) for package in inside if package["name"] != program] + pcap,
        }
        (out / f"sbom-{program}.cdx.json").write_text(json.dumps(bom, indent=1) + "\n", encoding="utf-8")
        foreign.update({package["id"]: package for package in inside if package["source"]})
    (out / "THIRD-PARTY.txt").write_text(pcap_licence + licences([foreign[key] for key in sorted(foreign)]), encoding="utf-8")


if __name__ == "__main__":
    main()

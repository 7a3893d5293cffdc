#!/usr/bin/env python3
"""Packs files as a container image; no Docker engine, no registry, no root.

    image.py --agent VERSION --layout DIR amd64:PROGRAM=/nodewatch-agent arm64:PROGRAM=/nodewatch-agent
    image.py --name NAME:TAG --archive OUT.tar --entrypoint /pause PROGRAM=/pause

--layout writes an OCI image layout, which skopeo, crane, oras and podman push; with several platforms its top is an index.
--archive writes what `docker load` and `ctr images import` take: the image of the first platform. --digest writes the
digest that a registry will have the layout's image under. The same files always give the same bytes: times are
SOURCE_DATE_EPOCH or 0, owners are 0, and the compressor's output has neither a name nor a time in it.

--net-raw PATH gives that file the capability cap_net_raw=ep, with which a non-root user can capture when the file is the
direct entrypoint. It is written into the layer, so nobody needs the right to set it here. --agent VERSION is what
agent/Dockerfile says of its last stage.
"""
import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import sys
import tarfile

# struct vfs_cap_data, revision 2: effective, permitted CAP_NET_RAW (13).
NET_RAW = bytes.fromhex("01000002" "00200000" "00000000" "00000000" "00000000")
AGENT = "/nodewatch-agent"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
CREATED = datetime.datetime.fromtimestamp(EPOCH, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
# The names that Go, and so OCI, has for machines.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def text(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def layer_of(files, net_raw):
    """The files as a tar, owned by root."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for source, target in files:
            data = pathlib.Path(source).read_bytes()
            info = tarfile.TarInfo(target.lstrip("/"))
            info.mode, info.size, info.mtime = 0o755, len(data), EPOCH
            if target == net_raw:
                info.pax_headers["SCHILY.xattr.security.capability"] = NET_RAW.decode("latin-1")
            tar.addfile(info, io.BytesIO(data))
    return layer.getvalue()


class Image:
    """The image of one platform."""

    def __init__(self, architecture, files, said):
        self.platform = {"architecture": architecture, "os": "linux"}
        self.layer = layer_of(files, said.net_raw)
        self.packed = gzip.compress(self.layer, 9, mtime=0)
        config = {"Entrypoint": [said.entrypoint], "Cmd": said.cmd, "User": said.user, "Labels": dict(said.label)}
        self.config = text({
            **self.platform, "created": CREATED, "config": {key: value for key, value in config.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [digest(self.layer)]},
            "history": [{"created": CREATED, "created_by": "nodewatch-tui assets/image.py"}],
        })
        self.manifest = text({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, self.config),
            "layers": [descriptor(LAYER, self.packed)], "annotations": dict(said.label),
        })


def descriptor(kind, data, **more):
    return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}


def write_layout(folder, images, said):
    """The layout, with the one image or the index of several at its top; its digest."""
    blobs = [blob for image in images for blob in (image.packed, image.config, image.manifest)]
    top = images[0].manifest
    if len(images) > 1:
        manifests = [descriptor(MANIFEST, image.manifest, platform=image.platform) for image in images]
        top = text({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": dict(said.label)})
        blobs.append(top)
    if folder.exists() and not (folder / "oci-layout").exists():
        sys.exit(f"{folder} is there and is no image layout: it was left alone")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "blobs" / "sha256").mkdir(parents=True)
    for blob in blobs:
        (folder / "blobs" / "sha256" / digest(blob)[7:]).write_bytes(blob)
    tag = {"org.opencontainers.image.ref.name": said.name.rsplit(":", 1)[-1]}
    first = descriptor(INDEX if len(images) > 1 else MANIFEST, top, annotations=tag)
    (folder / "index.json").write_bytes(text({"schemaVersion": 2, "mediaType": INDEX, "manifests": [first]}))
    (folder / "oci-layout").write_bytes(text({"imageLayoutVersion": "1.0.0"}))
    return digest(top)


def write_archive(file, image, name):
    """What `docker load` takes, which names the image as it should be called."""
    config = digest(image.config)[7:] + ".json"
    manifest = text([{"Config": config, "RepoTags": [name], "Layers": ["layer.tar"]}])
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry, data in ((config, image.config), ("layer.tar", image.layer), ("manifest.json", manifest)):
            info = tarfile.TarInfo(entry)
            info.size, info.mtime = len(data), EPOCH
            tar.addfile(info, io.BytesIO(data))


def said_on_the_command_line():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="[ARCH:]FILE=/PATH")
    parser.add_argument("--name", metavar="NAME:TAG")
    parser.add_argument("--agent", metavar="VERSION")
    parser.add_argument("--entrypoint")
    parser.add_argument("--cmd", nargs=1)
    parser.add_argument("--user")
    parser.add_argument("--net-raw", metavar="PATH")
    parser.add_argument("--label", action="append", default=[], type=lambda label: label.split("=", 1))
    parser.add_argument("--layout", type=pathlib.Path)
    parser.add_argument("--archive", type=pathlib.Path)
    parser.add_argument("--digest", type=pathlib.Path)
    parser.add_argument("--limit", type=int, metavar="BYTES", help="fail where a platform's files are larger")
    said = parser.parse_args()
    if said.agent:
        said.name = said.name or f"nodewatch-agent:{said.agent}"
        said.entrypoint, said.cmd, said.user, said.net_raw = AGENT, ["serve"], "65532:65532", AGENT
        labels = {"title": "nodewatch-agent", "version": said.agent, "licenses": "Apache-2.0"}
        said.label = [[f"org.opencontainers.image.{key}", value] for key, value in labels.items()] + said.label
    if not said.name or not said.entrypoint:
        parser.error("--name and --entrypoint are needed, or --agent")
    return said


def main():
    said = said_on_the_command_line()
    here = ARCHITECTURES.get(os.uname().machine, os.uname().machine)
    platforms = {}
    for file in said.files:
        source, target = file.rsplit("=", 1)
        architecture, colon, path = source.partition(":")
        architecture, path = (architecture, path) if colon else (here, source)
        platforms.setdefault(architecture, []).append((path, target))
    images = [Image(architecture, files, said) for architecture, files in sorted(platforms.items())]
    for image in images:
        files, pulled = len(image.layer), len(image.packed)
        if said.layout:
            print(f"{image.platform['architecture']}: {files:,} bytes, {pulled:,} to pull")
        if said.limit and files > said.limit:
            sys.exit(f"the image of {image.platform['architecture']} is larger than {said.limit:,} bytes")
    if said.layout:
        of_all = write_layout(said.layout, images, said)
        print(of_all)
        if said.digest:
            said.digest.write_text(of_all + "\n")
    if said.archive:
        write_archive(said.archive, images[0], said.name)


if __name__ == "__main__":
    main()

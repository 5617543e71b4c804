"""What a file is: by its first bytes, and by its name where that is enough."""

from __future__ import annotations

import re

#: Bytes of a file that :func:`what_is` looks at.
HEAD = 32

#: Suffixes of images, which are trusted until the file is decoded.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".avif"}
    | {".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm", ".jxl"}
)

_OTHER = (
    " .txt .md .rst .html .htm .css .js .ts .json .jsonl .ndjson .geojson .xml .xmp .yaml .yml .toml .ini .cfg .log"
    " .csv .tsv .py .pyc .ipynb .sh .bat .m .c .h .cpp .java .rs .go .pdf .doc .docx .xls .xlsx .ppt .pptx .odt .rtf"
    " .tex .bib .zip .tar .gz .tgz .bz2 .xz .zst .7z .rar .parquet .arrow .feather .avro .orc .db .sqlite .sqlite3"
    " .lmdb .mdb .h5 .hdf5 .hdf .nc .grib .npy .npz .mat .pkl .pickle .joblib .pt .pth .ckpt .onnx .safetensors"
    " .tfrecord .record .mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .3gp .wmv .flv .mp3 .wav .flac .ogg .aac .m4a .aae"
    " .thm .lrv .srt .vtt .svg .eps .ps .ai .psd .psb .xcf .kra .blend .obj .mtl .stl .ply .pcd .las .laz .glb .gltf"
    " .fbx .shp .shx .dbf .prj .cpg .qgz .qgs .kml .kmz .gpkg .ovr .vrt .tfw .jgw .pgw .dng .nef .nrw .cr2 .cr3 .crw"
    " .arw .srf .sr2 .orf .rw2 .raf .pef .3fr .iiq .x3f .dcm .nii .mha .mhd .nrrd .exe .dll .so .ttf .otf .woff .woff2"
    " .lock .md5 .sha1 .sha256"
)

#: Suffixes of files that are no images, or none to be read here, and are not opened to see that. Raw files of cameras
#: are TIFF with a preview in front.
OTHER_SUFFIXES = frozenset(_OTHER.split())

_PREFIXES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
}

_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"mif1": "HEIC", b"msf1": "HEIC", b"heic": "HEIC", b"heix": "HEIC"} | {
    b"heim": "HEIC", b"heis": "HEIC", b"hevc": "HEIC", b"hevx": "HEIC"
}  # fmt: skip


def what_is(head: bytes) -> str | None:
    """Return the format of an image by the first :data:`HEAD` bytes of its file; None if it is no image."""
    for prefix, name in _PREFIXES.items():
        if head.startswith(prefix):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        brands = [head[at : at + 4] for at in (8, *range(16, len(head) - 3, 4))]
        found = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return "AVIF" if "AVIF" in found else next(iter(found), None)
    # The size of the second header follows: 12 to 124 bytes.
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and head[15:18] == b"\0\0\0":
        return "BMP"
    return "PPM" if re.match(rb"P[1-6]\s+(#|\d)", head) else None

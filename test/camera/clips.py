"""Reads the clips of plugins/sim/clip and stamps their samples.

Written apart from the Go code that does the same, so that the one can be
checked against the other.
"""
import os
import struct

UUID = b"media-serverMSL1"


class Sample:
    """One access unit: what comes before the token, how it is wrapped, what follows."""

    def __init__(self, pts, key, head, wrap, tail):
        self.pts, self.key, self.head, self.wrap, self.tail = pts, key, head, wrap, tail

    def stamped(self, token):
        if self.wrap is None:  # sound without structure: instead of the first samples
            return token + self.tail[len(token):]
        return self.head + self.wrap(token) + self.tail


class Clip:
    def __init__(self, codec, caps, timescale, step, raw):
        """raw: (place in order of presentation, key, bytes) in decoding order."""
        self.codec, self.caps, self.timescale, self.step = codec, caps, timescale, step
        self.ahead = max(p - i for i, (p, _, _) in enumerate(raw))
        self.behind = max(i - p for i, (p, _, _) in enumerate(raw))
        self.samples = [Sample(p, k, *split(codec, b)) for p, k, b in raw]


def split(codec, b):
    if codec in ("h264", "h265"):
        at = 0
        while True:
            size, first = struct.unpack_from(">IB", b, at)
            slice_ = 1 <= first & 31 <= 5 if codec == "h264" else first >> 1 & 63 < 32
            if slice_:
                return b[:at], sei264 if codec == "h264" else sei265, b[at:]
            at += 4 + size
    if codec == "aac":
        return b"", lambda t: bytes([0x81, len(t)]) + t, b
    if codec == "opus":  # code 0 to code 3 with padding
        assert b[0] & 3 == 0
        return bytes([b[0] | 3, 0x41, 120]) + b[1:], lambda t: t.ljust(120, b"\0"), b""
    if codec == "mjpeg":
        assert b[-2:] == b"\xff\xd9"
        return b[:-2], bytes, b[-2:]
    if codec == "metadata":
        return b, lambda t: b"<!--" + t + b"-->", b""
    return b"", None, b


def sei(header, token):
    body = UUID + token
    nal = header + bytes([5, len(body)]) + body + b"\x80"
    return struct.pack(">I", len(nal)) + nal


def sei264(token):
    return sei(b"\x06", token)


def sei265(token):
    return sei(b"\x4e\x01", token)


def boxes(b, start=0, end=None):
    end = len(b) if end is None else end
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", b, start)
        yield name.decode("latin1"), start, start + 8, start + size
        start += size


def find(b, path, start=0, end=None):
    """Content bounds of the first box on a path such as moov/trak."""
    name, _, rest = path.partition("/")
    for n, _, lo, hi in boxes(b, start, end):
        if n == name:
            return find(b, rest, lo + {"stsd": 8}.get(n, 0), hi) if rest else (lo, hi)
    raise KeyError(path)


def samples(b):
    """(duration, offset, key, bytes) of a fragmented file of one track."""
    for name, start, lo, hi in boxes(b):
        if name != "moof":
            continue
        tlo, thi = find(b, "traf", lo, hi)
        hlo, _ = find(b, "tfhd", tlo, thi)
        flags = struct.unpack_from(">I", b, hlo)[0]
        at, default = hlo + 8, {}
        for bit, key in ((2, "entry"), (8, "duration"), (0x10, "size"), (0x20, "flags")):
            if flags & bit:
                default[key] = struct.unpack_from(">I", b, at)[0]
                at += 4
        for n, _, rlo, _ in boxes(b, tlo, thi):
            if n != "trun":
                continue
            flags, count, offset = struct.unpack_from(">IIi", b, rlo)
            at, pos, first = rlo + 12, start + offset, None
            if flags & 4:
                first = struct.unpack_from(">I", b, at)[0]
                at += 4
            for i in range(count):
                v = dict(default, offset=0)
                for bit, key in ((0x100, "duration"), (0x200, "size"), (0x400, "flags"), (0x800, "offset")):
                    if flags & bit:
                        v[key] = struct.unpack_from(">i", b, at)[0]
                        at += 4
                if i == 0 and first is not None:
                    v["flags"] = first
                yield v["duration"], v["offset"], not v.get("flags", 0) & 0x10000, b[pos:pos + v["size"]]
                pos += v["size"]


# Sound that nobody here decodes, of one size for all codecs: what is in it does
# not matter where it is not recorded. Caps, timescale, ticks of 160 bytes.
NOISE = {
    "g722": ("audio/G722,rate=16000,channels=1", 16000, 320),
    "l16": ("audio/x-raw,format=S16BE,layout=interleaved,rate=16000,channels=1", 16000, 80),
    "mp2": ("audio/mpeg,mpegversion=1,layer=2,rate=48000,channels=1", 48000, 1152),
}


def load(folder, name, keys_only=False):
    if name in NOISE:
        caps, timescale, step = NOISE[name]
        return Clip(name, caps, timescale, step, [(i, True, bytes([i]) * 160) for i in range(10)])
    if name == "alaw":
        with open(os.path.join(folder, "alaw.raw"), "rb") as f:
            b = f.read()
        raw = [(i, True, b[i * 160:i * 160 + 160]) for i in range(len(b) // 160)]
        return Clip("pcma", "audio/x-alaw,rate=8000,channels=1", 8000, 160, raw)
    with open(os.path.join(folder, name + ".mp4"), "rb") as f:
        b = f.read()
    codec = name.split("-")[0]
    lo, _ = find(b, "moov/trak/mdia/mdhd")
    timescale = struct.unpack_from(">I", b, lo + (20 if b[lo] else 12))[0]
    lo, hi = find(b, "moov/trak/mdia/minf/stbl/stsd")
    _, _, entry, end = next(boxes(b, lo + 8, hi))
    width, height = struct.unpack_from(">HH", b, entry + 24)
    children = entry + (28 if codec in ("aac", "opus") else 78)
    config = b""
    if codec in ("h264", "h265", "aac"):
        clo, chi = find(b, {"h264": "avcC", "h265": "hvcC", "aac": "esds"}[codec], children, end)
        config = b[clo:chi]
    caps = {
        "h264": f"video/x-h264,stream-format=avc,alignment=au,codec_data=(buffer){config.hex()}",
        "h265": f"video/x-h265,stream-format=hvc1,alignment=au,codec_data=(buffer){config.hex()}",
        "mjpeg": f"image/jpeg,width={width},height={height},framerate=5/1",
        "opus": "audio/x-opus,rate=48000,channels=1,channel-mapping-family=0",
        "aac": "audio/mpeg,mpegversion=4,stream-format=raw,rate=48000,channels=1,codec_data=(buffer)"
               + (aac_config(config).hex() if codec == "aac" else ""),
    }[codec]
    units, step = list(samples(b)), 0
    step = units[0][0]
    places = [i + u[1] // step for i, u in enumerate(units)]
    low = min(places)
    raw = [(p - low, u[2] or codec not in ("h264", "h265"), u[3]) for p, u in zip(places, units)]
    if keys_only:
        raw = [(i, True, r[2]) for i, r in enumerate(r for r in raw if r[1])]
    return Clip(codec, caps, timescale, step, raw)


def aac_config(esds):
    """AudioSpecificConfig: the DecoderSpecificInfo (tag 5) behind the
    DecoderConfigDescriptor (tag 4, 13 bytes) of an esds."""
    def body(at):  # behind a tag's length, which takes one to four bytes
        at += 1
        while esds[at] & 0x80:
            at += 1
        return at + 1, esds[at]

    at, _ = body(4)        # ES_Descriptor, behind version and flags of the box
    at, _ = body(at + 3)   # ES_ID, flags
    at, size = body(at + 13)
    return esds[at:at + size]


def metadata():
    """An ONVIF metadata stream, a document a second."""
    docs = []
    for i in range(10):
        docs.append((i, True, (
            '<?xml version="1.0" encoding="UTF-8"?><tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema">'
            f'<tt:VideoAnalytics><tt:Frame><tt:Object ObjectId="1"><tt:Appearance><tt:Shape><tt:CenterOfGravity x="0.{i}" '
            'y="-0.4"/></tt:Shape></tt:Appearance></tt:Object></tt:Frame></tt:VideoAnalytics></tt:MetadataStream>').encode()))
    return Clip("metadata", "", 90000, 90000, docs)

"""Units of a test camera: each carries the stamp by which the frame ledger
finds it again, MSL1:<camera>:<track>:<number>:<unix ns>;"""

import hashlib
import time

SEI_UUID = bytes.fromhex("4d534c3166726d656c65646765722d31")
KEY = 1
BATCH = 3 << 20  # bytes of units in one message, which may have 4 MB


def stamp(camera, track, number, now):
    return b"MSL1:%s:%s:%d:%d;" % (camera.encode(), track.encode(), number, now)


def sei(text):
    """An H.264 SEI NAL unit, user data unregistered. Text has no zero bytes,
    so no emulation prevention is needed."""
    body = SEI_UUID + text
    size = b"\xff" * (len(body) // 255) + bytes([len(body) % 255])
    return b"\x06\x05" + size + body + b"\x80"


class Clip:
    """An H.264 byte stream without B-frames, cut into access units."""

    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        self.sps = self.pps = b""
        self.units = []  # (key, [NAL units])
        unit, has_slice = [], False
        for nal in self._nals(data):
            kind = nal[0] & 31
            first_slice = kind in (1, 5) and nal[1] & 0x80
            if has_slice and (kind in (6, 7, 8, 9) or first_slice):
                self._add(unit)
                unit, has_slice = [], False
            has_slice = has_slice or kind in (1, 5)
            if kind == 7:
                self.sps = self.sps or nal
            if kind == 8:
                self.pps = self.pps or nal
            if kind != 9:  # sample form has no access unit delimiters
                unit.append(nal)
        if has_slice:
            self._add(unit)
        if not self.units or not self.units[0][0]:
            raise ValueError("the clip must be H.264 in byte stream form and begin with a key frame")

    def _add(self, unit):
        if sum(map(len, unit)) > BATCH - 1000:
            raise ValueError("a picture of the clip has more than 3 MB")
        self.units.append((any(n[0] & 31 == 5 for n in unit), unit))

    @staticmethod
    def _nals(data):
        at = data.find(b"\0\0\1")
        while at >= 0:
            end = data.find(b"\0\0\1", at + 3)
            nal = data[at + 3 : end if end >= 0 else len(data)].rstrip(b"\0")
            if nal:
                yield nal
            at = end

    def payload(self, number, text):
        key, nals = self.units[number % len(self.units)]
        out, told = b"", False
        for nal in nals:
            if not told and nal[0] & 31 in (1, 5):
                s = sei(text)
                out += len(s).to_bytes(4, "big") + s
                told = True
            out += len(nal).to_bytes(4, "big") + nal
        return key, out


class Ledger:
    """What was sent, one CSV line a unit; no file: nothing is written."""

    def __init__(self, path):
        self.file = open(path, "a", buffering=1) if path else None

    def sent(self, camera, track, number, now, key, payload):
        if self.file:
            sha = hashlib.sha1(payload).hexdigest()
            self.file.write(f"{camera},{track},{number},{now},{int(key)},{len(payload)},{sha}\n")


class Source:
    """Makes one track's units: `every` seconds a unit of `ticks` ticks."""

    def __init__(self, camera, track_id, letter, timescale, every, make):
        self.camera, self.id, self.letter, self.timescale = camera, track_id, letter, timescale
        self.every, self.make = every, make
        self.number = 0  # over all runs of this process
        self.at = 0  # units of the run under way

    def next(self, ledger):
        now = time.time_ns()
        key, payload = self.make(self.number, stamp(self.camera, self.letter, self.number, now))
        ledger.sent(self.camera, self.letter, self.number, now, key, payload)
        pts = round(self.at * self.every * self.timescale)
        self.number += 1
        self.at += 1
        return now, pts, key, payload

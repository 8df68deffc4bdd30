"""One stream: its thread makes units in real time, its log keeps those that
are not acknowledged. The driver's lock guards the log."""

import os
import threading
import time
from collections import deque

import plugin_pb2 as pb
from stamp import BATCH, KEY, Clip, Ledger, Source

PIECE = 1 << 20  # bytes of a unit in one message


class Refused(Exception):
    """The core said what it may not."""


class Track:
    """Units of one track of a run: units[0] has sequence number first."""

    def __init__(self):
        self.first, self.sent, self.units = 0, 0, deque()

    @property
    def end(self):
        return self.first + len(self.units)


class Run:
    def __init__(self, described):
        self.id = os.urandom(16)
        self.described = described
        self.tracks = {t.id: Track() for t in described}
        self.opened_at = time.time_ns()
        self.closed = None
        self.told = self.end_told = False  # Opened, Closed were sent on this connection

    def hole(self):
        return any(t.sent < t.first for t in self.tracks.values())

    def empty(self):
        return not any(t.units for t in self.tracks.values())


class Capture:
    def __init__(self, driver, uid, url, settings, failed=None):
        self.driver, self.uid, self.url, self.settings = driver, uid, url, dict(settings)
        self.failed = failed
        self.what = None  # url, settings, kinds and read timeout it was subscribed with
        self.subscribed = self.over = self.done = False
        self.size = self.dropped = 0
        self.tracks, self.sources, self.runs = [], [], []
        self.build(url[len("clock://"):] or uid)
        self.thread = None

    def build(self, camera):
        self.ledger = Ledger(self.settings.get("ledger"))
        if self.settings.get("clip"):
            clip = Clip(self.settings["clip"])
            fps = int(self.settings.get("fps") or 25)
            self.tracks = [pb.Track(id=1, codec="h264", timescale=90000, sps=clip.sps, pps=clip.pps)]
            self.sources = [Source(camera, 1, "v", 90000, 1 / fps, clip.payload)]
            return
        self.tracks = [pb.Track(id=1, codec="metadata", timescale=90000), pb.Track(id=2, codec="pcmu", timescale=8000, sample_rate=8000, channels=1)]
        self.sources = [
            Source(camera, 1, "d", 90000, 0.2, lambda n, text: (True, b"<clock><!--" + text + b"--></clock>")),
            Source(camera, 2, "a", 8000, 0.04, lambda n, text: (True, (text + b"\xff" * 320)[:320])),
        ]

    def same(self, what):
        return self.what == what and not self.over and not self.failed

    # ---- made by the thread

    def run(self):
        begin = time.monotonic()
        while True:
            source = min(self.sources, key=lambda s: s.at * s.every)
            wait = begin + source.at * source.every - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            now, pts, key, payload = source.next(self.ledger)
            mono = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            with self.driver.lock:
                if self.over or not self.runs:
                    return
                track = self.runs[-1].tracks[source.id]
                idle = track.sent == track.end
                track.units.append((now, mono, pts, key, payload, time.monotonic()))
                self.size += len(payload)
                self.bound()
                if idle:
                    self.driver.lock.notify_all()

    def bound(self):
        """Drop the oldest beyond the bounds; the newest of a track stays."""
        driver = self.driver
        limit = driver.buffer_bytes / max(len(driver.captures), 1)
        for run in self.runs:
            for t in run.tracks.values():
                while len(t.units) > 1 and (self.size > limit or time.monotonic() - t.units[0][5] > driver.buffer_s):
                    self.drop(t)
                    self.dropped += 1

    def drop(self, t):
        self.size -= len(t.units.popleft()[4])
        t.first += 1

    # ---- asked by the connection

    def subscribe(self, resume):
        held = {}
        for p in resume:
            if len(p.run) != 16:
                raise Refused("a run is 16 bytes")
            held[p.run] = {t.track: t.next for t in p.tracks}
        self.subscribed = True
        newest = max((i for i, r in enumerate(self.runs) if r.id in held), default=0)
        for i, r in enumerate(self.runs):
            r.told = r.end_told = i < newest and r.id not in held  # the core is past it
            for n, t in r.tracks.items():
                t.sent = t.end if r.told else min(max(held.get(r.id, {}).get(n, 0), t.first), t.end)
        if self.thread is None and not self.failed:
            self.runs.append(Run(self.tracks))
            self.thread = threading.Thread(target=self.run, daemon=True)
            self.thread.start()

    def inherit(self, old):
        """What the capture before this one has not seen acknowledged goes first."""
        self.runs, self.size = old.runs, old.size
        old.runs = []

    def unsubscribe(self):
        self.subscribed = False

    def ack(self, position):
        if len(position.run) != 16:
            raise Refused("a run is 16 bytes")
        at = next((i for i, r in enumerate(self.runs) if r.id == position.run), None)
        if at is None:
            return
        for r in self.runs[:at]:
            self.size -= sum(len(u[4]) for t in r.tracks.values() for u in t.units)
        del self.runs[:at]
        for p in position.tracks:
            t = self.runs[0].tracks.get(p.track)
            while t and t.units and t.first < p.next:
                self.drop(t)
                t.sent = max(t.sent, t.first)

    def end(self, cause, what, retry_ms):
        if self.over:
            return
        self.over = True
        if self.runs:
            self.runs[-1].closed = (cause, what, retry_ms)

    def take(self, handle):
        """What is to be sent now: at most a few messages."""
        if not self.subscribed or self.done:
            return []
        if self.failed:
            self.done = True
            return [pb.FramesReply(closed=pb.Closed(handle=handle, cause=pb.SETTINGS, problem=self.failed, retry_in_ms=-1, closed_at=time.time_ns()))]
        out = []
        for run in list(self.runs):
            if run.end_told:
                continue
            if run.told and run.hole():
                out.append(self.split(run, handle))
                continue
            if not run.told:
                run.told = True
                first = [pb.TrackPosition(track=n, next=t.sent) for n, t in run.tracks.items()]
                out.append(pb.FramesReply(opened=pb.Opened(
                    handle=handle, run=run.id, tracks=run.described, first=first, device="clock", opened_at=run.opened_at)))
            batch, more = self.batch(run, handle)
            if batch.units:
                out.append(pb.FramesReply(batch=batch))
            if more:
                return out
            if run.closed:
                cause, what, retry = run.closed
                run.end_told = True
                out.append(self.closed(run, handle, cause, what, retry))
                self.done = self.done or cause == pb.STOPPED
        return out

    @staticmethod
    def closed(run, handle, cause, what, retry):
        return pb.FramesReply(closed=pb.Closed(
            handle=handle, run=run.id, cause=cause, problem=pb.Problem(what=what), retry_in_ms=retry, closed_at=time.time_ns()))

    def batch(self, run, handle):
        out, size = pb.Batch(), 0
        while True:
            waiting = [(t.units[t.sent - t.first][0], n) for n, t in run.tracks.items() if t.sent < t.end]
            if not waiting:
                return out, False
            n = min(waiting)[1]
            t = run.tracks[n]
            now, mono, pts, key, payload, _ = t.units[t.sent - t.first]
            if size and size + len(payload) > BATCH:
                return out, True
            for at in range(0, len(payload), PIECE):
                more = 4 if at + PIECE < len(payload) else 0
                out.units.append(pb.Unit(
                    handle=handle, track=n, sequence=t.sent, pts=pts, received_time=now, received_mono=mono,
                    flags=(KEY if key else 0) | more, payload=payload[at : at + PIECE]))
            size += len(payload)
            t.sent += 1

    def split(self, run, handle):
        """Units were dropped before they were sent: say so, go on in a new run."""
        new = Run(run.described)
        new.closed = run.closed
        for n, t in run.tracks.items():
            keep = max(t.sent - t.first, 0)
            while len(t.units) > keep:
                new.tracks[n].units.appendleft(t.units.pop())
        for t in run.tracks.values():
            t.sent = t.end
        run.end_told = True
        run.closed = (pb.OVERFLOW, "the driver's buffer was full before the core took its units", 0)
        self.runs.insert(self.runs.index(run) + 1, new)
        return self.closed(run, handle, *run.closed)

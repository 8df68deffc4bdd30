#!/usr/bin/python3
"""Cameras of GStreamer's RTSP server, their frames stamped for the frame ledger.

Needs the Debian packages python3-gi, gir1.2-gst-rtsp-server-1.0,
gstreamer1.0-plugins-good, -bad and -ugly. Run it with Debian's own python3.

    camera.py --clips plugins/sim/clip --ledger DIR [--port N] [--preset ten] [--cameras JSON]
              [--clock-offset S] [--drift PPM] [--no-sr]

A camera is {"name", "video": h264|h264-plain|h265|mjpeg|none, "audio": aac|opus|pcma|g722|l16|mp2|none,
"metadata": bool, "fps": 1, "gop": 30, "transport": tcp|udp|any, "user", "password",
"clock_offset": seconds, "drift": ppm, "sr": bool}; all but name may be left out.

Prints one line of JSON, {"urls": {name: url}}, when all answer, then takes
commands on standard input, each answered by a line: "drop NAME [SECONDS]"
closes its connections (and answers 404 for SECONDS), "silence NAME SECONDS"
sends nothing, "clients" counts
connections, "quit" or the end of input ends it.

A camera runs from the start: frames are numbered as time passes, and those
nobody asked for are gone. DIR/NAME.csv tells which were handed to a client's
pipeline: camera,track,number,time_ns,key,bytes,sha1 (sha1 stays empty).
"""
import argparse
import json
import os
import struct
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, GObject, Gst, GstRtsp, GstRtspServer  # noqa: E402

import clips  # noqa: E402

Gst.init(None)  # before the first class derived from one of GStreamer's

S = 1_000_000_000
NTP_1970 = 2208988800 * S
SSRC = 0x4C454447  # of metadata

TEN = [
    {"name": "h264-aac-tcp", "video": "h264", "audio": "aac", "transport": "tcp"},
    {"name": "h264-aac-udp", "video": "h264", "audio": "aac", "transport": "udp"},
    {"name": "h265-pcma-tcp", "video": "h265", "audio": "pcma", "transport": "tcp"},
    {"name": "h265-pcma-udp", "video": "h265", "audio": "pcma", "transport": "udp"},
    {"name": "mjpeg-opus-tcp", "video": "mjpeg", "audio": "opus", "transport": "tcp"},
    {"name": "mjpeg-opus-udp", "video": "mjpeg", "audio": "opus", "transport": "udp"},
    {"name": "audio-only", "video": "none", "audio": "aac", "transport": "tcp"},
    {"name": "one-fps", "video": "h264", "audio": "none", "fps": 1, "transport": "udp"},
    {"name": "gop-30s", "video": "h264", "audio": "aac", "gop": 30, "transport": "tcp"},
    {"name": "metadata", "video": "h264", "audio": "pcma", "metadata": True, "transport": "tcp",
     "user": "admin", "password": "p#ss word"},
]

PAY = {
    "h264": "rtph264pay config-interval=-1", "h265": "rtph265pay config-interval=-1",
    "mjpeg": "rtpjpegpay", "aac": "rtpmp4gpay", "opus": "rtpopuspay",
    "pcma": "rtppcmapay min-ptime=20000000 max-ptime=20000000",
    "g722": "rtpg722pay", "l16": "rtpL16pay", "mp2": "rtpmpapay",
}


# Payload types that cameras use (RFC 3551); gortsplib knows JPEG by no other.
STATIC = {"mjpeg": 26, "pcma": 8, "g722": 9, "mp2": 14}


class MetadataPay(Gst.Bin):
    """Stands where a payloader stands; its packets are made by Camera, since
    Debian has no rtponvifmetadatapay."""

    __gtype_name__ = "LedgerMetadataPay"
    __gstmetadata__ = ("ONVIF metadata", "Codec/Payloader/Network/RTP", "Passes RTP packets on", "media-server")
    pt = GObject.Property(type=int, default=98)
    seqnum = GObject.Property(type=int, default=0)
    timestamp = GObject.Property(type=int, default=0)

    def __init__(self):
        super().__init__()
        self.src = Gst.ElementFactory.make("appsrc", "src2")
        self.src.set_property("caps", Gst.Caps.from_string(
            "application/x-rtp,media=application,payload=98,clock-rate=90000,encoding-name=VND.ONVIF.METADATA,"
            f"ssrc=(uint){SSRC}"))  # without ssrc reports do not know the clock rate
        configure(self.src)
        self.add(self.src)
        pad = Gst.GhostPad.new("src", self.src.get_static_pad("src"))
        pad.set_active(True)
        self.add_pad(pad)


def configure(src):
    src.set_property("format", Gst.Format.TIME)
    src.set_property("is-live", True)
    src.set_property("max-bytes", 0)  # a unit in the ledger must not be lost here
    src.set_property("block", False)


class Track:
    """One elementary stream: unit i is sample i modulo the clip, for ever."""

    def __init__(self, index, letter, clip, step_ns):
        self.index, self.letter, self.clip, self.step = index, letter, clip, step_ns
        self.n = 0  # next unit in decoding order, and its number
        self.rtp_seq = 1000

    def at(self, i):
        num, den = self.step
        return i * num // den

    def due(self):
        return self.at(self.n + self.clip.ahead)

    def sample(self):
        return self.clip.samples[self.n % len(self.clip.samples)]

    def place(self):
        size = len(self.clip.samples)
        return self.n - self.n % size + self.sample().pts


class Camera:
    def __init__(self, opts, folder, clipdir):
        self.opts, self.name = opts, opts["name"]
        self.ppm = opts.get("drift", 0)
        self.boot = time.monotonic_ns()
        self.quiet_until = 0
        self.media = None  # (element, [appsrc or None])
        self.ledger = open(os.path.join(folder, self.name + ".csv"), "a", encoding="ascii")
        self.tracks = []
        video, audio = opts.get("video", "h264"), opts.get("audio", "aac")
        if video != "none":
            long = opts.get("gop", 1) == 30
            clip = clips.load(clipdir, video + ("-long" if long else ""), keys_only=opts.get("fps", 25) < 5)
            fps = opts.get("fps", 5 if video == "mjpeg" else 25)
            self.tracks.append(Track(0, "v", clip, (S, fps)))
        if audio != "none":
            clip = clips.load(clipdir, {"pcma": "alaw"}.get(audio, audio))
            self.tracks.append(Track(1, "a", clip, (clip.step * S, clip.timescale)))
        if opts.get("metadata"):
            self.tracks.append(Track(2, "d", clips.metadata(), (S, 1)))
        self.clock = None
        if self.ppm or opts.get("clock_offset"):
            # A pipeline clock that is NTP time as this camera believes it, and
            # sender reports taken from it: see ntp-time-source below.
            self.clock = GObject.new(Gst.SystemClock, name="clock-" + self.name, clock_type=Gst.ClockType.REALTIME)
            now = time.time_ns()
            offset = int(opts.get("clock_offset", 0) * S)
            self.clock.set_calibration(now, now + NTP_1970 + offset, 1_000_000 + self.ppm, 1_000_000)

    def host(self, own):
        """The host's monotonic time at which the camera's media clock shows own."""
        return self.boot + own * 1_000_000 // (1_000_000 + self.ppm)

    def clock_at(self, mono, wall_minus_mono):
        """The pipeline clock at an instant of the host."""
        if self.clock is None:
            return mono  # GStreamer's system clock is CLOCK_MONOTONIC
        internal, external, num, den = self.clock.get_calibration()[:4]
        return external + (mono + wall_minus_mono - internal) * num // den

    def element(self):
        """The elements of one media; pay%d are what the server looks for."""
        parts = []
        for t in self.tracks:
            if t.letter != "d":
                parts.append(f"appsrc name=src{t.index} ! {PAY[t.clip.codec]} name=pay{t.index} "
                             f"pt={STATIC.get(t.clip.codec, 96 + t.index)}")
        # pay%d must count from 0 without a hole.
        text, names = "( " + "  ".join(parts) + " )", [t.index for t in self.tracks]
        for want, have in enumerate(names):
            text = text.replace(f"name=pay{have} ", f"name=pay{want} ")
        box = Gst.parse_launch(text) if parts else Gst.Bin()
        sources = []
        for want, t in enumerate(self.tracks):
            if t.letter == "d":
                pay = MetadataPay()
                pay.set_name(f"pay{want}")
                box.add(pay)
                sources.append(pay.src)
                continue
            src = box.get_by_name(f"src{t.index}")
            src.set_property("caps", Gst.Caps.from_string(t.clip.caps))
            configure(src)
            sources.append(src)
        return box, sources

    def rtpbin(self, _, element):
        """Sets up the element that makes sender reports, before it does."""
        if not element.get_factory() or element.get_factory().get_name() != "rtpbin":
            return
        if self.clock is not None:
            element.set_property("ntp-time-source", 3)  # clock-time
        if not self.opts.get("sr", True):
            element.connect("element-added", no_reports)

    def tick(self, now, wall_minus_mono):
        """Hands over what is due; returns when it wants to be called next."""
        media = self.media
        base = None
        if media is not None and media[0].get_clock() is not None:
            state = media[0].get_state(0)[1]
            if state == Gst.State.PLAYING:
                base = media[0].get_base_time()
        todo, wake = [], now + S
        for t in self.tracks:
            while self.host(t.due()) <= now:
                if base is not None and now >= self.quiet_until and now - self.host(t.due()) < 2 * S:
                    todo.append(self.make(t, base, wall_minus_mono))
                t.n += 1
            wake = min(wake, self.host(t.due()))
        todo = [x for x in todo if x is not None]
        if todo:
            todo.sort(key=lambda x: x[0])
            self.ledger.write("".join(x[1] for x in todo))
            self.ledger.flush()
            for _, _, index, buf in todo:
                media[1][index].emit("push-buffer", buf)
        return wake

    def make(self, t, base, wall_minus_mono):
        own = t.at(t.place())
        seen = self.host(own)
        running = self.clock_at(seen, wall_minus_mono) - base
        if running < 0:
            return None
        sample = t.sample()
        token = f"MSL1:{self.name}:{t.letter}:{t.n}:{seen + wall_minus_mono};".encode()
        body = sample.stamped(token)
        size = len(body)
        if t.letter == "d":
            t.rtp_seq = (t.rtp_seq + 1) & 0xFFFF
            body = struct.pack(">BBHII", 0x80, 0x80 | 98, t.rtp_seq, own * 90000 // S & 0xFFFFFFFF, SSRC) + body
        buf = Gst.Buffer.new_wrapped(body)
        buf.pts = running
        dts = running - t.at(t.place()) + t.at(t.n - t.clip.behind) if t.n >= t.clip.behind else running
        buf.dts = max(dts, 0)
        buf.duration = t.at(1)
        if not sample.key:
            buf.set_flags(Gst.BufferFlags.DELTA_UNIT)
        line = f"{self.name},{t.letter},{t.n},{seen + wall_minus_mono},{int(sample.key)},{size},\n"
        index = self.tracks.index(t)
        return t.due(), line, index, buf


def no_reports(_, element):
    if element.get_factory() and element.get_factory().get_name() == "rtpsession":
        element.get_property("internal-session").set_property("rtcp-min-interval", 10**17)


class Factory(GstRtspServer.RTSPMediaFactory):
    def __init__(self, camera):
        super().__init__()
        self.camera = camera
        self.set_shared(True)  # one camera, one encoder
        self.set_stop_on_disconnect(True)
        kind = {"tcp": GstRtsp.RTSPLowerTrans.TCP, "udp": GstRtsp.RTSPLowerTrans.UDP}
        both = GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP
        self.set_protocols(kind.get(camera.opts.get("transport", "any"), both))
        if camera.clock is not None:
            self.set_clock(camera.clock)
        self.connect("media-configure", self.configured)

    def do_create_element(self, url):
        box, self.sources = self.camera.element()
        return box

    def configured(self, _, media):
        camera, element, sources = self.camera, media.get_element(), self.sources
        media.set_latency(0)
        pipeline = element.get_parent()
        if pipeline is not None:
            pipeline.connect("element-added", camera.rtpbin)
        media.connect("unprepared", lambda _: self.gone(element))
        camera.media = (element, sources)

    def gone(self, element):
        if self.camera.media is not None and self.camera.media[0] == element:
            self.camera.media = None


class Service:
    def __init__(self, args):
        cameras = list(TEN) if args.preset == "ten" else []
        cameras += json.loads(args.cameras)
        for c in cameras:
            c.setdefault("clock_offset", args.clock_offset)
            c.setdefault("drift", args.drift)
            if args.no_sr:
                c["sr"] = False
        self.cameras = {c["name"]: Camera(c, args.ledger, args.clips) for c in cameras}
        self.servers, self.ended = {}, threading.Event()
        self.loop = GLib.MainLoop()
        urls = {}
        for name, camera in self.cameras.items():
            user = (camera.opts.get("user"), camera.opts.get("password"))
            server = self.server(user, args.port)
            factory = Factory(camera)
            if user[0]:
                rights = GstRtspServer.RTSPPermissions.new()
                for right in ("media.factory.access", "media.factory.construct"):
                    rights.add_permission_for_role("user", right, True)
                factory.set_permissions(rights)
            server.get_mount_points().add_factory("/" + name, factory)
            urls[name] = (server, name)
            camera.mount = (server.get_mount_points(), factory)
        for server in self.servers.values():
            server.attach(None)
        self.urls = {n: f"rtsp://127.0.0.1:{s.get_bound_port()}/{p}" for n, (s, p) in urls.items()}

    def server(self, user, port):
        """One without passwords on the port asked for, one more for each user."""
        if user in self.servers:
            return self.servers[user]
        server = GstRtspServer.RTSPServer()
        server.set_address("127.0.0.1")
        server.set_service(str(port) if not user[0] else "0")
        if user[0]:
            auth = GstRtspServer.RTSPAuth()
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            token = GstRtspServer.RTSPToken.new()
            token.set_string("media.factory.role", "user")
            auth.add_digest(user[0], user[1], token)
            server.set_auth(auth)
        self.servers[user] = server
        return server

    def feed(self):
        while not self.ended.is_set():
            now = time.monotonic_ns()
            wall_minus_mono = time.time_ns() - time.monotonic_ns()
            wake = min(c.tick(now, wall_minus_mono) for c in self.cameras.values())
            time.sleep(max(0.004, min(0.2, (wake - time.monotonic_ns()) / S)))

    def command(self, line):
        word = line.split()
        if word == ["quit"]:
            return None
        if word == ["clients"]:
            return "ok " + str(sum(len(s.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REF) or [])
                                   for s in self.servers.values()))
        if len(word) < 2 or word[1] not in self.cameras or word[0] not in ("drop", "silence"):
            return "error unknown command or camera"
        camera, now = self.cameras[word[1]], time.monotonic_ns()
        seconds = float(word[2]) if len(word) > 2 else 0
        if word[0] == "silence":
            camera.quiet_until = now + int(seconds * S)
            return "ok"
        if seconds:
            mounts, factory = camera.mount
            mounts.remove_factory("/" + camera.name)
            GLib.timeout_add(int(seconds * 1000), lambda: bool(mounts.add_factory("/" + camera.name, factory)))
        return f"ok {self.drop(camera)}"

    def drop(self, camera):
        """Closes the connections that play camera."""
        count = 0

        def close(_, client):
            nonlocal count
            hit = []

            def session(_, s):
                def media(_, m):
                    if m.matches("/" + camera.name)[0]:
                        hit.append(1)
                    return GstRtspServer.RTSPFilterResult.KEEP
                s.filter(media)
                return GstRtspServer.RTSPFilterResult.KEEP

            client.session_filter(session)
            count += bool(hit)
            return GstRtspServer.RTSPFilterResult.REMOVE if hit else GstRtspServer.RTSPFilterResult.KEEP

        for server in self.servers.values():
            server.client_filter(close)
        return count

    def commands(self):
        for line in sys.stdin:
            done, answer = threading.Event(), []

            def act(text=line.strip()):
                answer.append(self.command(text))
                done.set()
                return False

            GLib.idle_add(act)
            done.wait()
            if answer[0] is None:
                break
            print(answer[0], flush=True)
        GLib.idle_add(self.loop.quit)

    def run(self):
        feeder = threading.Thread(target=self.feed)
        feeder.start()
        threading.Thread(target=self.commands, daemon=True).start()
        print(json.dumps({"urls": self.urls}), flush=True)
        try:
            self.loop.run()
        finally:
            self.ended.set()
            feeder.join()
            os._exit(0)  # GStreamer's threads are not waited for


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--clips", required=True)
    p.add_argument("--ledger", required=True)
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--preset", default="")
    p.add_argument("--cameras", default="[]")
    p.add_argument("--clock-offset", type=float, default=0)
    p.add_argument("--drift", type=int, default=0)
    p.add_argument("--no-sr", action="store_true")
    Service(p.parse_args()).run()


if __name__ == "__main__":
    main()

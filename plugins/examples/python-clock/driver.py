#!/usr/bin/python3
"""A driver for media-server in Python, with nothing but grpcio and protobuf.

It shows what PROTOCOL.md asks of a driver that has no SDK: handshake, Base,
Frames with runs, sequence numbers, a bounded buffer, resume, acknowledgement
and epochs, and a life of its own while no core runs. Its camera is a clock:
clock://NAME plays the clip in driver-clip, or makes metadata and G.711.
"""

import json
import os
import queue
import signal
import sys
import tempfile
import threading
import time
from concurrent import futures

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import grpc  # noqa: E402
import plugin_pb2 as pb  # noqa: E402
from capture import Capture, Refused  # noqa: E402

NAME = os.environ.get("MEDIA_SERVER_PLUGIN_NAME", "python-clock")


def log(level, msg, **more):
    print(json.dumps({"level": level, "msg": msg, **more}), file=sys.stderr, flush=True)


class Connection:
    """One Frames call."""

    def __init__(self, epoch):
        self.epoch = epoch
        self.handles = {}  # number: capture
        self.uids = {}  # of every handle used so far
        self.refused = None  # which rule the core broke
        self.ended = threading.Event()
        self.over = False


class Driver:
    def __init__(self):
        self.lock = threading.Condition()  # guards everything, wakes senders
        self.epoch = 0
        self.connection = None
        self.captures = {}
        self.linger = 30.0
        self.buffer_s, self.buffer_bytes = 20.0, 256 << 20
        self.seen = time.monotonic()  # when a core last called
        self.stop = threading.Event()

    # ---- epochs

    def enter(self, epoch, context, replace=False):
        """Refuse an older epoch; end an older connection before answering."""
        while True:
            with self.lock:
                self.seen = time.monotonic()
                if epoch < self.epoch:
                    context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"epoch {epoch} is over: {self.epoch} has been here")
                self.epoch = epoch
                old = self.connection
                if old is None or (old.epoch == epoch and not replace):
                    if replace:
                        self.connection = Connection(epoch)
                        return self.connection
                    return None
                old.over = True
                self.lock.notify_all()
            if not old.ended.wait(5):
                context.abort(grpc.StatusCode.UNAVAILABLE, "the older connection does not end")

    # ---- Base

    def Info(self, request, context):
        return pb.InfoReply(name=NAME, version="1.0.0", kind=pb.InfoReply.DRIVER, schemes=["clock"], pid=os.getpid())

    def SettingsSchema(self, request, context):
        key = pb.SettingKey
        return pb.SettingsSchemaReply(item_keys=[
            key(name="clip", type=key.STRING, help="H.264 byte stream without B-frames to play; empty = metadata and G.711."),
            key(name="fps", type=key.INT, default_value="25", help="Pictures a second of the clip."),
            key(name="ledger", type=key.STRING, help="CSV file that every unit sent is written to."),
        ])

    def problems(self, url, settings):
        out = []
        if not url.startswith("clock://") or len(url) == len("clock://"):
            out.append(pb.Problem(key="url", what="not a URL of this driver", hint="write clock://NAME"))
        for k, v in settings.items():
            if k not in ("clip", "fps", "ledger"):
                out.append(pb.Problem(key=k, what="unknown key", hint="known: clip, fps, ledger"))
            elif k == "fps" and v and not v.isdigit():
                out.append(pb.Problem(key=k, what="is not a whole number", hint="write 25"))
        return out

    def Validate(self, request, context):
        return pb.ValidateReply(problems=self.problems(request.url, request.settings))

    def Configure(self, request, context):
        self.enter(request.epoch, context)
        with self.lock:
            self.linger = request.linger_ms / 1000 or 30.0
            self.buffer_s = request.buffer_ms / 1000 or 20.0
            self.buffer_bytes = request.buffer_bytes or 256 << 20
        return pb.ConfigureReply()

    def Health(self, request, context):
        self.seen = time.monotonic()
        return pb.HealthReply()

    def Metrics(self, request, context):
        with self.lock:
            size = sum(c.size for c in self.captures.values())
        return pb.MetricsReply(metrics=[pb.Metric(name="buffer_bytes", value=size)])

    def Shutdown(self, request, context):
        self.stop.set()
        return pb.ShutdownReply()

    def Probe(self, request, context):
        found = self.problems(request.url, request.settings)
        if found:
            return pb.ProbeReply(problem=found[0])
        try:
            return pb.ProbeReply(tracks=Capture(self, "probe", request.url, request.settings).tracks, device="clock")
        except (OSError, ValueError) as e:
            return pb.ProbeReply(problem=pb.Problem(key="clip", what=str(e), hint="check driver-clip"))

    # ---- Frames

    def Frames(self, requests, context):
        hello = next(requests, None)
        if hello is None or hello.WhichOneof("message") != "hello":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Hello comes first")
        conn = self.enter(hello.hello.epoch, context, replace=True)
        reader = threading.Thread(target=self.read, args=(conn, requests), daemon=True)
        try:
            yield pb.FramesReply(welcome=pb.Welcome(epoch=conn.epoch))
            reader.start()
            while True:
                with self.lock:
                    out = []
                    while not out:
                        if conn.over:
                            break
                        for handle, capture in list(conn.handles.items()):
                            out += capture.take(handle)
                            if capture.done:
                                del conn.handles[handle]
                        if not out:
                            self.lock.wait()
                    if conn.over and not out:
                        break
                yield from out
                time.sleep(0.02)  # gather: a wake-up costs more than a unit
            with self.lock:
                newer = self.epoch
            if conn.refused:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, conn.refused)
            context.abort(grpc.StatusCode.ABORTED, f"the connection is over (newest epoch {newer})")
        finally:
            with self.lock:
                conn.over = True
                for capture in conn.handles.values():
                    capture.unsubscribe()  # it goes on and keeps what it has
                self.connection = None
                self.seen = time.monotonic()
            conn.ended.set()

    def read(self, conn, requests):
        try:
            for m in requests:
                with self.lock:
                    if conn.over:
                        return
                    self.message(conn, m)
                    self.lock.notify_all()
        except Refused as e:
            log("error", "the core breaks the protocol", err=str(e))
            conn.refused = str(e)
        except grpc.RpcError:
            pass  # the core is gone
        finally:
            with self.lock:
                conn.over = True
                self.lock.notify_all()

    def message(self, conn, m):
        kind = m.WhichOneof("message")
        if kind == "subscribe":
            self.subscribe(conn, m.subscribe)
        elif kind == "ack" and m.ack.handle in conn.handles:
            conn.handles[m.ack.handle].ack(m.ack.position)
        elif kind == "unsubscribe" and m.unsubscribe.handle in conn.handles:
            if m.unsubscribe.keep:
                conn.handles.pop(m.unsubscribe.handle).unsubscribe()
            else:
                capture = conn.handles[m.unsubscribe.handle]
                capture.end(pb.STOPPED, "no longer wanted", -1)
                self.captures.pop(capture.uid, None)
        elif kind == "hello":
            raise Refused("Hello comes once")

    def subscribe(self, conn, s):
        if any(len(p.run) != 16 for p in s.resume):
            raise Refused("a run has 16 bytes")
        if conn.uids.setdefault(s.handle, s.uid) != s.uid:
            raise Refused("a handle is for one stream")
        old = capture = self.captures.get(s.uid)
        what = (s.url, dict(s.settings), sorted(s.kinds), s.read_timeout_ms)
        if capture and not capture.same(what):
            capture.end(pb.CHANGED, "url or settings were changed", 0)
            capture = None
        if capture is None:
            found = self.problems(s.url, s.settings)
            try:
                capture = Capture(self, s.uid, s.url, s.settings, failed=found[0] if found else None)
            except (OSError, ValueError) as e:
                capture = Capture(self, s.uid, s.url, {}, failed=pb.Problem(key="clip", what=str(e), hint="check driver-clip"))
            capture.what = what
            if old:
                capture.inherit(old)
            self.captures[s.uid] = capture
        for handle in [h for h, c in conn.handles.items() if c.uid == s.uid or h == s.handle]:
            del conn.handles[handle]
        conn.handles[s.handle] = capture
        capture.subscribe(s.resume)

    # ---- life

    def wait(self):
        """Return when told to end, or when no core has come for long."""
        while not self.stop.wait(0.2):
            with self.lock:
                lonely = self.connection is None and time.monotonic() - self.seen > self.linger
            if lonely:
                log("info", "no core came", linger_s=self.linger)
                return


def handlers(driver):
    """The service tables, by hand: grpcio-tools is not in every distribution."""
    unary = lambda f, req, rep: grpc.unary_unary_rpc_method_handler(f, req.FromString, rep.SerializeToString)  # noqa: E731
    base = {n: unary(getattr(driver, n), getattr(pb, n + "Request"), getattr(pb, n + "Reply"))
            for n in ("Info", "SettingsSchema", "Validate", "Configure", "Health", "Metrics", "Shutdown")}
    frames = {
        "Probe": unary(driver.Probe, pb.ProbeRequest, pb.ProbeReply),
        "Frames": grpc.stream_stream_rpc_method_handler(driver.Frames, pb.FramesRequest.FromString, pb.FramesReply.SerializeToString),
    }
    # HealthCheckResponse{status: SERVING} is two bytes; no generated code for that.
    health = {"Check": grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")}
    table = grpc.method_handlers_generic_handler
    return (table("mediaserver.plugin.v1.Base", base), table("mediaserver.plugin.v1.Driver", frames), table("grpc.health.v1.Health", health))


def main():
    if os.environ.get("MEDIA_SERVER_PLUGIN") != "c0ffee-free-frames-v1":
        sys.exit("This is a plugin of media-server, which starts it by itself.")
    for s in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(s, signal.SIG_IGN)
    driver = Driver()

    def terminate(*_):
        if driver.connection is None:  # with a core connected, Shutdown is the way
            driver.stop.set()

    signal.signal(signal.SIGTERM, terminate)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=[
        ("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20)])
    server.add_generic_rpc_handlers(handlers(driver))
    os.umask(0o177)
    path = os.path.join(os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.gettempdir(), f"plugin{os.getpid()}")
    if server.add_insecure_port("unix:" + path) == 0:
        sys.exit(f"cannot listen on {path}")
    server.start()
    print(f"1|1|unix|{path}|grpc", flush=True)
    driver.wait()
    with driver.lock:
        for capture in driver.captures.values():
            capture.end(pb.STOPPED, "the plugin ends", -1)
        if driver.connection:
            driver.connection.over = True
        driver.lock.notify_all()
    server.stop(1).wait()
    if os.path.exists(path):
        os.unlink(path)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Cameras for tests, made by GStreamer's RTSP server.

Prints "PORTS n d b" (open, with Digest, with Basic) when it listens on 127.0.0.1 and ends when its standard input
is closed, so that no process outlives a test. Debian packages: python3-gi,
gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base, -good, -bad, -ugly, -libav.
"""
import os
import struct
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
gi.require_version("GstRtsp", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

Gst.init(None)

VIDEO = "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! "
AUDIO = "audiotestsrc is-live=true ! audioconvert ! audio/x-raw,rate=48000,channels=2 ! "
MOUNTS = {
    "/h264-aac": VIDEO + "x264enc bframes=2 b-adapt=false key-int-max=25 speed-preset=ultrafast bitrate=500 ! "
    "video/x-h264,profile=main ! rtph264pay name=pay0 pt=96 "
    + AUDIO + "avenc_aac ! rtpmp4gpay name=pay1 pt=97",
    "/h264-latm": VIDEO + "x264enc tune=zerolatency key-int-max=25 speed-preset=ultrafast ! rtph264pay name=pay0 pt=96 "
    + AUDIO + "avenc_aac ! rtpmp4apay name=pay1 pt=97",
    "/h265-pcma": VIDEO + "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph265pay name=pay0 pt=96 "
    "audiotestsrc is-live=true ! audioconvert ! audioresample ! audio/x-raw,rate=8000,channels=1 ! "
    "alawenc ! rtppcmapay name=pay1 pt=8",
    "/mjpeg-opus": VIDEO + "jpegenc ! rtpjpegpay name=pay0 pt=26 "
    + AUDIO + "opusenc ! rtpopuspay name=pay1 pt=97",
    "/audio": AUDIO + "avenc_aac ! rtpmp4gpay name=pay0 pt=97",
    "/slow": "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=1/1 ! "
    "x264enc tune=zerolatency key-int-max=1 ! rtph264pay name=pay0 pt=96",
    "/digest": VIDEO + "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0 pt=96",
    "/theora": VIDEO + "theoraenc ! rtptheorapay name=pay0 pt=96",
    "/speex": VIDEO + "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0 pt=96 "
    "audiotestsrc is-live=true ! audioconvert ! audioresample ! audio/x-raw,rate=8000,channels=1 ! "
    "speexenc ! rtpspeexpay name=pay1 pt=97",
    "/metadata": VIDEO + "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0 pt=96 "
    "appsrc name=meta is-live=true format=time do-timestamp=true "
    "caps=application/x-rtp,media=application,encoding-name=VND.ONVIF.METADATA,clock-rate=90000,payload=98 ! "
    "identity name=pay1",
}


class Factory(GstRtspServer.RTSPMediaFactory):
    """Feeds the metadata track: a document in two packets, ten times a second."""

    __gtype_name__ = "TestFactory"

    def do_configure(self, media):
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        src = media.get_element().get_by_name_recurse_up("meta") or media.get_element().get_by_name("meta")
        if src is None:
            return
        state = {"n": 0, "seq": 0}

        def push():
            text = ('<?xml version="1.0"?><tt:MetadataStream n="%d">' % state["n"]).encode() + b"x" * 900
            parts = [text, b"</tt:MetadataStream>"]
            ts = (state["n"] * 9000) & 0xFFFFFFFF
            for i, part in enumerate(parts):
                head = struct.pack(">BBHII", 0x80, 98 | (0x80 if i == 1 else 0), state["seq"] & 0xFFFF, ts, 0x1234)
                state["seq"] += 1
                if src.emit("push-buffer", Gst.Buffer.new_wrapped(head + part)) != Gst.FlowReturn.OK:
                    return False
            state["n"] += 1
            return True

        GLib.timeout_add(100, push)


def serve(paths, auth=None, role=None):
    """Starts a server on a port of its own for these mount points."""
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    if auth is not None:
        server.set_auth(auth)
    for path in paths:
        factory = Factory()
        factory.set_launch("( " + MOUNTS[path] + " )")
        factory.set_shared(True)
        if role is not None:
            factory.add_role_from_structure(Gst.Structure.from_string(
                role + ", media.factory.access=(bool)true, media.factory.construct=(bool)true")[0])
        server.get_mount_points().add_factory(path, factory)
    server.attach(None)
    return server


def main():
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    digest = GstRtspServer.RTSPAuth()
    digest.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    digest.add_digest("user", "p#ss", token)
    basic = GstRtspServer.RTSPAuth()
    basic.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
    basic.add_basic(GstRtspServer.RTSPAuth.make_basic("user", "p#ss"), token)
    servers = [serve(MOUNTS), serve(["/digest"], digest, "user"), serve(["/digest"], basic, "user")]
    print("PORTS", *[s.get_bound_port() for s in servers], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    GLib.MainLoop().run()


main()

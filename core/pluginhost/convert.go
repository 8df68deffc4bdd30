package pluginhost

import (
	"fmt"
	"strings"
	"time"

	"media-server/core/media"
	"media-server/core/stream"
	"media-server/plugins/sdk/pb"
)

func positionToPB(p media.RunPosition) *pb.RunPosition {
	m := &pb.RunPosition{Run: p.Run[:], Tracks: make([]*pb.TrackPosition, 0, len(p.Tracks))}
	for _, t := range p.Tracks {
		m.Tracks = append(m.Tracks, &pb.TrackPosition{Track: uint32(t.Track), Next: t.Next})
	}
	return m
}

// openedOf checks and converts; what says which rule is broken.
func openedOf(m *pb.Opened) (o stream.Opened, what string) {
	if len(m.Run) != len(o.Run) {
		return o, fmt.Sprintf("a run id of %d bytes", len(m.Run))
	}
	o.Run = media.RunID(m.Run)
	o.Device, o.At = m.Device, media.Wall(m.OpenedAt)
	if o.Run.IsZero() {
		return o, "a run id of zeros"
	}
	if len(m.Tracks) == 0 || len(m.Tracks) > maxTracks {
		return o, fmt.Sprintf("a run of %d tracks", len(m.Tracks))
	}
	seen := map[int]bool{}
	for _, t := range m.Tracks {
		track := trackOf(t)
		switch {
		case t.Id < 1 || t.Id > maxTracks || seen[track.ID]:
			return o, fmt.Sprintf("track id %d", t.Id)
		case track.Kind() == media.KindUnknown:
			return o, fmt.Sprintf("codec %q", t.Codec)
		case t.Timescale == 0:
			return o, fmt.Sprintf("track %d without a timescale", t.Id)
		}
		seen[track.ID] = true
		o.Tracks = append(o.Tracks, track)
	}
	for _, l := range m.LeftOut {
		o.LeftOut = append(o.LeftOut, stream.LeftOut{Name: l.Name, Reason: l.Reason})
	}
	for _, f := range m.First {
		o.First = append(o.First, media.Position{Track: int(f.Track), Next: f.Next})
	}
	return o, ""
}

func trackOf(t *pb.Track) media.Track {
	return media.Track{
		ID: int(t.Id), Codec: media.Codec(t.Codec), Timescale: t.Timescale, VPS: t.Vps, SPS: t.Sps, PPS: t.Pps, Config: t.Config,
		SampleRate: int(t.SampleRate), Channels: int(t.Channels), Width: int(t.Width), Height: int(t.Height),
	}
}

func closedOf(m *pb.Closed) stream.Closed {
	c := stream.Closed{
		Cause: causeOf(m.Cause), What: whatOf(m.Problem), Hint: m.Problem.GetHint(),
		RetryIn: time.Duration(m.RetryInMs) * time.Millisecond, At: media.Wall(m.ClosedAt),
	}
	if len(m.Run) == len(c.Run) {
		c.Run = media.RunID(m.Run)
	}
	return c
}

// whatOf names the key a problem is about as it stands in the stream's file:
// the driver's own words, such as "unknown key", do not repeat it.
func whatOf(p *pb.Problem) string {
	switch key := p.GetKey(); key {
	case "":
		return p.GetWhat()
	case "url":
		return "stream-url: " + p.GetWhat()
	default:
		return "driver-" + key + ": " + p.GetWhat()
	}
}

// causeOf names a cause as stream does. One of a newer protocol is kept by
// its number rather than mistaken for another.
func causeOf(c pb.Cause) stream.Cause {
	if c == pb.Cause_CAUSE_UNSPECIFIED {
		return stream.CauseLost
	}
	return stream.Cause(strings.ToLower(c.String()))
}

func statsOf(m *pb.Stats) stream.Stats {
	return stream.Stats{
		PacketsReceived: m.PacketsReceived, PacketsLost: m.PacketsLost, PacketsReordered: m.PacketsReordered,
		UnitsDamaged: m.UnitsDamaged, UnitsDropped: m.UnitsDropped, BytesReceived: m.BytesReceived, Reconnects: m.Reconnects,
	}
}

package sdk

import (
	"media-server/core/media"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

func toTrack(t media.Track) *pb.Track {
	return &pb.Track{
		Id: uint32(t.ID), Codec: string(t.Codec), Timescale: t.Timescale, Vps: t.VPS, Sps: t.SPS, Pps: t.PPS,
		Config: t.Config, SampleRate: uint32(t.SampleRate), Channels: uint32(t.Channels),
		Width: uint32(t.Width), Height: uint32(t.Height),
	}
}

// TrackOf converts a track of the protocol; its byte slices are shared.
func TrackOf(t *pb.Track) media.Track {
	return media.Track{
		ID: int(t.GetId()), Codec: media.Codec(t.GetCodec()), Timescale: t.GetTimescale(), VPS: t.GetVps(), SPS: t.GetSps(),
		PPS: t.GetPps(), Config: t.GetConfig(), SampleRate: int(t.GetSampleRate()), Channels: int(t.GetChannels()),
		Width: int(t.GetWidth()), Height: int(t.GetHeight()),
	}
}

func toLeftOut(in []LeftOut) []*pb.LeftOut {
	var out []*pb.LeftOut
	for _, l := range in {
		out = append(out, &pb.LeftOut{Name: l.Name, Reason: l.Reason})
	}
	return out
}

// PositionOf converts a run position of the protocol; ok is false when the run
// is not 16 bytes.
func PositionOf(p *pb.RunPosition) (pos media.RunPosition, ok bool) {
	if len(p.GetRun()) != len(pos.Run) {
		return pos, false
	}
	pos.Run = media.RunID(p.Run)
	for _, t := range p.Tracks {
		pos.Tracks = append(pos.Tracks, media.Position{Track: int(t.Track), Next: t.Next})
	}
	return pos, true
}

// ToPosition converts a run position for the protocol.
func ToPosition(p media.RunPosition) *pb.RunPosition {
	out := &pb.RunPosition{Run: p.Run[:]}
	for _, t := range p.Tracks {
		out.Tracks = append(out.Tracks, &pb.TrackPosition{Track: uint32(t.Track), Next: t.Next})
	}
	return out
}

func kindsOf(in []pb.TrackKind) []media.Kind {
	var out []media.Kind
	for _, k := range in {
		if k != pb.TrackKind_KIND_ANY {
			out = append(out, media.Kind(k))
		}
	}
	return out
}

// UnitOf converts a unit as it came over the wire; the payload is shared.
func UnitOf(u *codec.Unit) media.AccessUnit {
	return media.AccessUnit{
		Track: int(u.Track), Seq: u.Sequence, PTS: u.PTS, DTS: u.DTS, HasDTS: u.HasDTS,
		NTP: media.Wall(u.SourceTime), Received: media.Wall(u.ReceivedTime), Mono: int64(u.ReceivedMono),
		Key: u.Flags&uint32(pb.Unit_KEY) != 0, Damaged: u.Flags&uint32(pb.Unit_DAMAGED) != 0, Payload: u.Payload,
	}
}

func toUnit(handle uint32, seq uint64, u *media.AccessUnit) codec.Unit {
	out := codec.Unit{
		Handle: handle, Track: uint32(u.Track), Sequence: seq, PTS: u.PTS, DTS: u.DTS, HasDTS: u.HasDTS,
		SourceTime: uint64(u.NTP), ReceivedTime: uint64(u.Received), ReceivedMono: uint64(u.Mono), Payload: u.Payload,
	}
	if u.Key {
		out.Flags |= uint32(pb.Unit_KEY)
	}
	if u.Damaged {
		out.Flags |= uint32(pb.Unit_DAMAGED)
	}
	return out
}

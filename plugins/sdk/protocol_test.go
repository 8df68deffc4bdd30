package sdk_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"media-server/plugins/sdk"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// octets reads the pairs of hex digits that begin a line.
func octets(t *testing.T, lines string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(lines) {
		pairs := regexp.MustCompile(`^ *((?:[0-9a-f]{2} ?)+)(?: |\n|$)`).FindStringSubmatch(strings.ReplaceAll(line, "  6d", " 6d"))
		if pairs == nil {
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(pairs[1], " ", ""))
		if err != nil {
			t.Fatal(line, err)
		}
		out = append(out, b...)
	}
	return out
}

func TestTheWorkedExampleDecodes(t *testing.T) {
	m := regexp.MustCompile("(?s)```hex\n(.*?)```").FindStringSubmatch(page(t))
	if m == nil {
		t.Fatal("PROTOCOL.md has no hex example")
	}
	raw := octets(t, m[1])
	want := &pb.FramesReply{Message: &pb.FramesReply_Batch{Batch: &pb.Batch{Units: []*pb.Unit{
		{
			Handle: 3, Track: 1, Sequence: 300, Pts: 90000, Dts: proto.Int64(86400), SourceTime: 1767225600000000000,
			ReceivedTime: 1767225600040000000, ReceivedMono: 5000000000, Flags: 1, Payload: []byte{0, 0, 0, 4, 0x65, 0x88, 0x80, 0x40},
		},
		{Handle: 3, Track: 2, Sequence: 12, Pts: -160, ReceivedTime: 1767225600041000000, Flags: 1, Payload: []byte{0xd5, 0xd5}},
	}}}}
	got := &pb.FramesReply{}
	if err := proto.Unmarshal(raw, got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	// The fast codec writes the page's bytes.
	b := &codec.Batch{}
	for _, u := range want.GetBatch().Units {
		b.Units = append(b.Units, codec.Unit{
			Handle: u.Handle, Track: u.Track, Sequence: u.Sequence, PTS: u.Pts, DTS: u.GetDts(), HasDTS: u.Dts != nil,
			SourceTime: u.SourceTime, ReceivedTime: u.ReceivedTime, ReceivedMono: u.ReceivedMono, Flags: u.Flags, Payload: u.Payload,
		})
	}
	s, err := codec.Codec{}.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.Materialize(), raw) {
		t.Errorf("the fast codec writes %x\nthe page has %x", s.Materialize(), raw)
	}
}

func TestTheDescriptorExampleIsConsistent(t *testing.T) {
	line := regexp.MustCompile(`(?m)^    00 00 00 0d .*$`).FindString(page(t))
	raw := octets(t, line)
	if n := binary.BigEndian.Uint32(raw); int(n) != len(raw)-4 || string(raw[4:]) != "main\x00open/1.m" {
		t.Errorf("length %d, bytes %q", n, raw)
	}
}

func TestThePageNamesTheHandshakesFacts(t *testing.T) {
	text := page(t)
	for _, fact := range []string{sdk.CookieKey, sdk.CookieValue, sdk.SocketDirEnv, sdk.NameEnv, "1|1|unix|"} {
		if !strings.Contains(text, fact) {
			t.Errorf("PROTOCOL.md does not say %s", fact)
		}
	}
}

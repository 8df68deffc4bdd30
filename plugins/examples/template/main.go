package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"media-server/core/media"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

func main() {
	sdk.Main(sdk.Plugin{
		Name:    "template",
		Version: "1.0.0",
		Schemes: []string{"template"},
		// Keys a stream may carry, written driver-interval = 1s in its ini file.
		ItemKeys: []sdk.Key{
			{Name: "interval", Type: sdk.Duration, Default: "1s", Help: "Time between two documents."},
		},
		Driver: sdk.DriverFunc(capture),
	})
}

func capture(ctx context.Context, src sdk.Source, run *sdk.Run) error {
	u, err := url.Parse(src.URL)
	if err != nil || u.Host == "" {
		return sdk.Fail(pb.Cause_SETTINGS, "the URL names no device", "write template://NAME")
	}
	interval := time.Second
	if d, err := time.ParseDuration(src.Settings["interval"]); err == nil && d > 0 {
		interval = d
	}

	// 1. Connect to the device; return an error when that fails. Here: nothing.

	// 2. Say what it delivers.
	if !src.Wants(media.Data) {
		return sdk.Fail(pb.Cause_UNSUPPORTED, "this device has a data track only", "add data to stream-tracks")
	}
	track := media.Track{ID: 1, Codec: media.Metadata, Timescale: 90000}
	if err := run.Open([]media.Track{track}, "template "+u.Host); err != nil {
		return err
	}

	// 3. Deliver units until the connection ends. Return the error then: the
	// SDK waits, and calls capture again.
	begin := time.Now()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			doc := fmt.Sprintf(`<clock device=%q time=%q/>`, u.Host, now.UTC().Format(time.RFC3339Nano))
			err := run.Write(media.AccessUnit{
				Track:    1,
				PTS:      media.TicksOf(now.Sub(begin), track.Timescale),
				Received: media.WallOf(now), // when its last byte came
				Key:      true,
				Payload:  []byte(doc),
			})
			if err != nil {
				return err
			}
			run.Stats().PacketsReceived.Add(1)
			run.Stats().BytesReceived.Add(uint64(len(doc)))
		}
	}
}

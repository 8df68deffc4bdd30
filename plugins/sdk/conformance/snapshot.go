package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

// snapshots asks for the device's own picture where the driver says that it has them.
func snapshots(k *kit) error {
	if !slices.Contains(k.info.Capabilities, "snapshot") {
		return nil
	}
	within := 2 * time.Second
	ctx, cancel := context.WithTimeout(k.ctx, within+k.o.Wait)
	defer cancel()
	r, err := pb.NewDriverClient(k.p.conn).Snapshot(ctx, &pb.SnapshotRequest{Uid: "conformance", Url: k.o.URL, Settings: k.o.Settings, TimeoutMs: within.Milliseconds()})
	if err != nil {
		return err
	}
	switch p := r.Problem; {
	case p != nil && (p.What == "" || len(r.Jpeg) > 0):
		return fmt.Errorf("it answers %d bytes and the problem %q", len(r.Jpeg), p.What)
	case p != nil, len(r.Jpeg) == 0: // none just now, or none ever
		return nil
	case len(r.Jpeg) > sdk.MaxSnapshot:
		return fmt.Errorf("the picture has %d bytes", len(r.Jpeg))
	case !bytes.HasPrefix(r.Jpeg, []byte{0xff, 0xd8, 0xff}) || !bytes.Contains(r.Jpeg[max(0, len(r.Jpeg)-64):], []byte{0xff, 0xd9}):
		return errors.New("the picture is no whole JPEG: it begins with FF D8 FF and ends with FF D9")
	}
	return nil
}

package pluginhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"media-server/core/fault"
	"media-server/plugins/sdk/pb"
)

// mostSnapshot is how large a picture may be, bytes (PROTOCOL.md, Limits).
const mostSnapshot = 3 << 20

// ErrNoSnapshot: the driver, or the device, makes no pictures by itself.
var ErrNoSnapshot = errors.New("the device makes no pictures by itself")

// Snapshot has a driver get the picture that a device makes of this moment: a JPEG, the
// caller's. The error is ErrNoSnapshot where there are none ever, or says why not now.
func (h *Host) Snapshot(ctx context.Context, plugin, uid, url string, settings map[string]string, within time.Duration) ([]byte, error) {
	a, err := ask(ctx, h, plugin, within+time.Second, func(ctx context.Context, i *instance) (*pb.SnapshotReply, error) {
		if !has(i.info.Capabilities, "snapshot") {
			return &pb.SnapshotReply{}, nil
		}
		return pb.NewDriverClient(i.conn).Snapshot(ctx, &pb.SnapshotRequest{Uid: uid, Url: url, Settings: settings, TimeoutMs: within.Milliseconds()})
	})
	switch {
	case err != nil:
		return nil, err
	case a.Problem != nil:
		return nil, &fault.Problem{Where: "plugin " + plugin, What: a.Problem.What, Hint: a.Problem.Hint, Key: a.Problem.Key}
	case len(a.Jpeg) == 0:
		return nil, ErrNoSnapshot
	case len(a.Jpeg) > mostSnapshot || !bytes.HasPrefix(a.Jpeg, []byte{0xff, 0xd8, 0xff}):
		return nil, fault.New("plugin "+plugin, fmt.Sprintf("gives %d bytes for a picture that are no JPEG, or too many", len(a.Jpeg)), "this is a fault of the driver")
	}
	return a.Jpeg, nil
}

// Command s3 is the storage plugin that keeps complete recordings in a bucket
// of an S3 server.
//
//	core ══gRPC══▶ sdk.Main ─▶ server ─▶ bucket (one a space) ═══HTTP═══▶ S3
//
// What belongs here is the process only: the plugin's name and its settings.
package main

import (
	"log/slog"
	"os"

	"media-server/plugins/s3/bucket"
	"media-server/plugins/s3/server"
	"media-server/plugins/sdk"
)

const version = "1.0.0"

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	sdk.Main(sdk.Plugin{Name: "s3", Version: version, Storage: server.New(log), ItemKeys: bucket.Keys()})
}

package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"time"

	"media-server/core/archive"
	"media-server/core/export"
)

// exported is an MP4 that left a server, and the proof it is verified by.
type exported struct{ file, proof string }

// split parts what is to be verified: files that have a proof beside them, or
// for which one was named, and all else. files tells that all else are files and
// folders, not streams.
func split(what []string, proof string, files bool) (exports []exported, rest []string, err error) {
	for _, w := range what {
		fi, err := os.Stat(w)
		isFile := err == nil && fi.Mode().IsRegular()
		switch {
		case proof != "" && !isFile:
			return nil, nil, usagef("--proof needs the files that were cut out of that export; %s is none", w)
		case proof != "":
			exports = append(exports, exported{w, proof})
		case isFile && exists(w+export.Suffix):
			exports = append(exports, exported{w, w + export.Suffix})
		case files && isFile && !isMedia(w):
			return nil, nil, usagef("%s is no stored media file, and %s is not there; name the proof of the export it was cut out of: --proof FILE", w, w+export.Suffix)
		default:
			rest = append(rest, w)
		}
	}
	if proof != "" && len(what) == 0 {
		return nil, nil, usagef("--proof needs the files that were cut out of that export")
	}
	return exports, rest, nil
}

func exists(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

// isMedia tells whether a file is one of a space, whole or damaged: an MP4 that
// is none begins like one, and has no box of ours.
func isMedia(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return true // verifying says what is wrong
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return true
	}
	_, _, err = archive.ReadHead(f, fi.Size())
	return err == nil || !looksProgressive(f)
}

// looksProgressive tells whether a file is an MP4 of another make: it begins
// with ftyp, and its name for itself is not that of stored media.
func looksProgressive(f *os.File) bool {
	b := make([]byte, 12)
	n, _ := f.ReadAt(b, 0)
	return n == len(b) && string(b[4:8]) == "ftyp" && string(b[8:12]) != "iso6"
}

// verifyExports verifies exports and tells what it finds; the reports are
// returned for JSON.
func verifyExports(ctx context.Context, list []exported, pubs []ed25519.PublicKey, zone *time.Location, quiet bool) (out []*export.Report, findings int, err error) {
	v := export.Verifier{Keys: pubs}
	for _, x := range list {
		r, err := v.Verify(ctx, x.file, x.proof)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, r)
		findings += len(r.Findings)
		if quiet {
			continue
		}
		for _, line := range r.Lines(zone) {
			fmt.Println(line)
		}
		fmt.Printf("%s: %d findings\n", x.file, len(r.Findings))
	}
	return out, findings, nil
}

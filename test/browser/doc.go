// Package browser tests the pages as people use them: the real server with
// simulated cameras, and Debian's Chromium that looks at it.
//
//	harness.Server (bin/media-server, plugins)  ◀── HTTP ──  Chromium ◀── cdp ── tests
//
// What does not belong here: what the API answers (core/web/api), what the
// playlists hold (core/hls), frames accounted for (test/accept).
//
// MEDIA_SERVER_SHOTS names a folder that gets pictures of the pages.
package browser

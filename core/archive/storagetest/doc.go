// Package storagetest is a storage space in a folder, in process, made for
// tests: it can be killed, stalled, filled up, made to fail syncs, and have the
// power cut. It is not part of the server.
//
//	archive ─Storage─▶ Dir ─▶ real files in a folder
//	                    └ remembers what is not synced: PowerCut drops any subset of its pages
//
// What does not belong here: what a real backend does for speed or safety
// (plugins/local). Each Appender owns one goroutine, the one that syncs, and
// waits for it in Close.
package storagetest

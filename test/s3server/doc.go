// Package s3server runs a real S3 server for tests, versitygw over a folder,
// and a proxy before it that can be made to delay, cut and refuse.
//
//	test ─▶ Proxy (delay, cut, refuse) ─▶ versitygw process ─▶ folder
//
// The server is built once, from its pinned version, into the build cache's
// folder. What does not belong here: anything that a test judges.
package s3server

package web

// Foreign are the addresses of other servers' interfaces that this one has
// published as its own too, and of the store of pictures. It is the last room
// that is asked: /{uid}/… would take what belongs to others.
var Foreign = &Later{Root: "/", Names: []Name{
	{Path: "api/streams/{uid}/ranges", Use: "GET /dvr/<uid>/ranges.json tells them in milliseconds"},
	{Path: "api/streams/...", Use: "GET /api/v1/streams lists the streams"},
	{Path: "api/auth/token/access", Use: "make a token with POST /api/v1/tokens/api or media-server token api"},
	{Path: "pictures/v1/...", Use: "pictures of footage are at /live/<uid>/preview.mp4 and /dvr/<uid>/videoshot.mp4?time=T; others are not stored"},
}}

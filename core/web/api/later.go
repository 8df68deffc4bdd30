package api

import "media-server/core/web"

// later are routes of the published interface that this version lacks.
var later = web.Later{Root: prefix, Names: []web.Name{
	{Methods: "POST", Path: "streams", Use: "write streams.d/<uid>.ini: the stream starts within a second of its being saved"},
	{Methods: "PUT PATCH", Path: "streams/{uid}", Use: "edit streams.d/<uid>.ini: it is in force within a second of being saved"},
	{Methods: "DELETE", Path: "streams/{uid}", Use: "remove streams.d/<uid>.ini: capture stops, and the footage ages by the rules it had"},
	{Path: "streams/{uid}/restart", Use: "set stream-enable = false in streams.d/<uid>.ini, save, and set it to true again"},
	{Path: "streams/{uid}/pause", Use: "set dvr-enable = false in streams.d/<uid>.ini: it stops recording and not capture"},
	{Path: "streams/{uid}/resume", Use: "set dvr-enable = true in streams.d/<uid>.ini"},
	{Path: "streams/{uid}/rename", Use: "write streams.d/<new uid>.ini and remove the old file: the footage stays under the old uid and ages by the rules it had"},
	{Path: "streams/{uid}/move", Use: "there are no other nodes; dvr-pool in streams.d/<uid>.ini says where footage goes from now on"},
	{Methods: "POST", Path: "backfill", Use: "GET backfill lists what is missing"},
	{Path: "server/resources", Use: "GET server has the figures of spaces and plugins; /metrics of the admin port those of the process"},
	{Path: "cluster/...", Use: "each node is a server of its own; GET server tells of this one"},
	{Path: "drivers/...", Use: "stream-url in streams.d/<uid>.ini chooses the driver by its scheme; GET server lists the plugins that run"},
	{Path: "plugins/...", Use: "GET server lists the plugins that run"},
	{Path: "packs/...", Use: "a plugin is a folder in [server] plugins-dir"},
	{Path: "log", Use: "GET events has type, uid, level, from, to and text; entries go after [log] keep"},
	{Path: "log.csv", Use: "GET events gives the same as JSON"},
	{Path: "hooks/...", Use: "GET events/stream pushes events while it is read"},
	{Path: "users", Use: "media-server passwd sets the password of a user"},
	{Path: "users/{name}", Use: "POST users/{name}/password, or media-server passwd, sets the password of a user"},
	{Path: "audit", Use: "GET events?type=auth.* tells who did what"},
	{Path: "lua", Use: "GET events/stream tells programs outside of what happens here"},
	{Path: "x/...", Use: "these are the routes of Lua scripts; GET events/stream tells programs outside of what happens here"},
	{Path: "openapi.json", Use: "the API's row in README.md lists what there is"},
}}

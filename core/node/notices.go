package node

import (
	"fmt"
	"time"

	"media-server/core/archive"
	"media-server/core/journal"
	"media-server/core/media"
	"media-server/core/pluginhost"
	"media-server/core/stream"
)

// event makes a journal entry; id, time and node are the journal's.
func event(typ, uid, level, message string, data map[string]any) journal.Event {
	l := journal.Level(level)
	if level == "warning" { // the rooms' word; the journal's is that of [log] level
		l = journal.Warn
	}
	return journal.Event{Type: typ, UID: uid, Level: l, Message: message, Data: data}
}

// emit stores an event; it never blocks.
func (n *Node) emit(e journal.Event) { n.journal.Emit(e) }

func (n *Node) streamNotice(x stream.Notice) {
	if x.Level != "info" {
		n.log.Warn(x.Message, "stream", x.UID, "type", x.Type)
	}
	n.emit(event(x.Type, x.UID, x.Level, x.Message, x.Data))
}

func (n *Node) archiveNotice(x archive.Notice) {
	if x.Type == "record.file" {
		return // one a stream and two minutes: the catalogue knows
	}
	switch x.Level {
	case "error":
		n.log.Error(x.Message, "stream", x.UID, "type", x.Type)
	case "warning":
		n.log.Warn(x.Message, "stream", x.UID, "type", x.Type)
	}
	n.emit(event(x.Type, x.UID, x.Level, x.Message, x.Data))
}

func (n *Node) pluginNotice(x pluginhost.Notice) {
	data := map[string]any{"plugin": x.Plugin}
	for k, v := range x.Data {
		data[k] = v
	}
	n.emit(event(x.Type, "", x.Level, fmt.Sprintf("plugin %s: %s", x.Plugin, x.Message), data))
}

// deviceEvent is what a camera reports: motion, inputs.
func (n *Node) deviceEvent(x pluginhost.Event) {
	data := map[string]any{"active": x.Active, "at_ms": x.Time.UnixMilli()}
	for k, v := range x.Data {
		data[k] = v
	}
	word := "ended"
	if x.Active {
		word = "began"
	}
	n.emit(event("camera."+x.Kind, x.UID, "info", x.Kind+" "+word+" at "+x.Time.In(n.zone()).Format("15:04:05"), data))
	phase := stream.Ends
	if x.Active {
		phase = stream.Begins
	}
	n.marks.device(x.UID, stream.Event{Kind: x.Kind, At: media.WallOf(x.Time), Phase: phase})
}

// zone is the server's time zone as it is set now.
func (n *Node) zone() *time.Location { return n.current.Load().Server.Zone() }

package node

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"media-server/core/config"
	"media-server/core/fault"
	"media-server/core/hls"
	"media-server/core/journal"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/pluginhost"
	"media-server/core/stream"
	"media-server/core/web/api"
	"media-server/core/web/playback"
)

// backend is the node as the API and playback see it.
type backend struct{ n *Node }

// Server implements api.Backend.
func (b backend) Server() api.Server {
	n := b.n
	set := n.current.Load()
	s := api.Server{
		Name: set.Server.Label(), Node: n.home.nodeName(), Version: n.opt.Version, Started: n.started.UnixMilli(),
		Now: media.WallOf(now()).Milli(), TimeZone: zoneName(set), Epoch: n.home.epoch, Viewers: n.viewers.of(""),
		Problems: len(b.Problems()), Locks: len(n.archive.Locks("", always)), Spaces: b.spaces(), Plugins: b.plugins(), Pending: []string{},
	}
	for _, r := range n.streams.list() {
		s.Streams++
		if r.str == nil {
			continue
		}
		st := r.str.Status()
		if st.State == stream.StateActive {
			s.Active++
			if st.Recording {
				s.Recording++
			}
		}
	}
	for _, c := range n.pending(set) {
		s.Pending = append(s.Pending, "["+c.Section+"] "+c.Key)
	}
	return s
}

func zoneName(set *Settings) string {
	name := set.Server.Zone().String()
	if name == "Local" {
		return systemZone()
	}
	return name
}

func (b backend) spaces() []api.Space {
	out := []api.Space{}
	for _, s := range b.n.archive.SpaceStatuses() {
		out = append(out, api.Space{Name: s.Name, State: string(s.State), Total: s.Usage.Total, Used: s.Usage.Used, Free: s.Usage.Free})
	}
	return out
}

func (b backend) plugins() []api.Plugin {
	out := []api.Plugin{}
	for _, p := range b.n.host.Plugins() {
		out = append(out, api.Plugin{Name: p.Name, Kind: p.Kind, Version: p.Version, State: p.State, Restarts: int(p.Restarts), Error: p.LastError})
	}
	return out
}

func problemOf(p *fault.Problem) api.Problem {
	where := p.Where
	if p.File != "" {
		where = p.Error()
		if i := strings.Index(where, ": "); i > 0 {
			where = where[:i]
		}
	}
	return api.Problem{Level: p.Level.String(), Where: where, What: p.What, Hint: p.Hint}
}

// Problems implements api.Backend: settings that were refused, streams that
// cannot be captured, plugins and spaces that ail.
func (b backend) Problems() []api.Problem {
	n := b.n
	set := n.current.Load()
	var out []api.Problem
	for _, p := range set.Problems() {
		out = append(out, problemOf(&p))
	}
	out = append(out, pendingProblems(n.pending(set))...)
	for _, p := range n.places.problems() {
		out = append(out, problemOf(&p))
	}
	said := map[string]bool{}
	for _, p := range set.Problems() {
		said[p.Error()] = true
	}
	for _, p := range n.drivers.problems() {
		if !said[p.Error()] {
			out = append(out, problemOf(&p))
		}
	}
	plugins := n.host.Plugins()
	out = append(out, sharedSchemes(plugins)...)
	for _, p := range plugins {
		switch {
		case p.Problem != nil:
			q := problemOf(p.Problem)
			if p.Problem.File == "" {
				q.Where = "plugin " + filepath.Base(p.Name)
			}
			out = append(out, q)
		case p.Looping:
			out = append(out, api.Problem{Level: "error", Where: "plugin " + p.Name,
				What: fmt.Sprintf("failed %d times within ten minutes, last: %s", p.Failures, strings.TrimPrefix(p.LastError, "plugin "+p.Name+": ")),
				Hint: "its log lies in " + filepath.Join(set.Server.RunDir, "plugins", p.Name+".log")})
		case p.Health != "":
			out = append(out, api.Problem{Level: "warning", Where: "plugin " + p.Name, What: p.Health})
		}
	}
	for _, s := range n.archive.SpaceStatuses() {
		if p, ails := spaceProblem(s); ails {
			out = append(out, p)
		}
		if p, ails := slowProblem(s); ails {
			out = append(out, p)
		}
		if s.Stays > 0 {
			out = append(out, staysProblem(s))
		}
	}
	out = append(out, b.retentionProblems()...)
	out = append(out, b.moveProblems()...)
	out = append(out, b.groomProblems()...)
	out = append(out, b.exportProblems()...)
	for _, r := range n.streams.list() {
		out = append(out, b.streamProblems(r)...)
	}
	if err := n.web.certError(); err != nil {
		out = append(out, api.Problem{Level: "error", Where: "[tls]", What: err.Error(), Hint: "the last good certificate is still in use"})
	}
	out = append(out, n.portProblems()...)
	return append(out, n.webrtcProblems()...)
}

// pendingProblems is one for each section: a new one changes all its keys.
func pendingProblems(changes []config.Change) (out []api.Problem) {
	keys := map[string][]string{}
	var order []string
	for _, c := range changes {
		if keys[c.Section] == nil {
			order = append(order, c.Section)
		}
		keys[c.Section] = append(keys[c.Section], c.Key)
	}
	for _, section := range order {
		verb := " waits for a restart of the server"
		if len(keys[section]) > 1 {
			verb = " wait for a restart of the server"
		}
		out = append(out, api.Problem{Level: "warning", Where: "[" + section + "]", What: "changed: " + strings.Join(keys[section], ", ") + verb,
			Hint: "restart when convenient: recording loses nothing"})
	}
	return out
}

// sharedSchemes warns of URL schemes that several drivers take: the first by
// name gets the streams.
func sharedSchemes(plugins []pluginhost.Status) (out []api.Problem) {
	first := map[string]string{}
	for _, p := range plugins {
		if p.Kind != "driver" || p.Problem != nil || p.State == pluginhost.StateOff {
			continue
		}
		for _, s := range p.Schemes {
			if other := first[s]; other != "" {
				out = append(out, api.Problem{Level: "warning", Where: "plugin " + p.Name, What: fmt.Sprintf("%s:// is taken by driver %s too, which gets its streams", s, other),
					Hint: "remove one, or write stream-driver = " + p.Name + " in the streams meant for this one"})
				continue
			}
			first[s] = p.Name
		}
	}
	return out
}

func (b backend) streamProblems(r *running) (out []api.Problem) {
	uid := r.set.UID
	add := func(level, what, hint string, since media.Wall) {
		out = append(out, api.Problem{Level: level, Where: "stream " + uid, What: what, Hint: hint, UID: uid, Since: since.Milli()})
	}
	if r.fail != "" {
		add("error", r.fail, "", 0)
	}
	if r.note != "" {
		add("warning", r.note, "see the problems of its spaces", 0)
	}
	if r.str == nil {
		return out
	}
	st := r.str.Status()
	// What the driver finds wrong with the file is told with file and line.
	if len(b.n.drivers.problemsOf(uid)) == 0 || st.State == stream.StateSilent {
		switch st.State {
		case stream.StateLost, stream.StateSilent:
			add("warning", st.Reason, st.Hint, st.Since)
		case stream.StateRefused:
			add("error", st.Reason, st.Hint, st.Since)
		}
	}
	if st.Behind {
		add("warning", "storage does not keep up; the driver keeps the camera's frames meanwhile", "see the spaces", 0)
	}
	for _, u := range st.Unstored {
		hint := "the camera or its driver sends what is no " + u.Codec + "; another driver, firmware or codec may help"
		if u.Why == "waiting for a key frame" {
			hint = "set a shorter distance of key frames (GOP, I-frame interval) on the camera"
		}
		add("error", u.Codec+" arrives and is not stored: "+u.Why, hint, u.Since)
	}
	for _, l := range st.LeftOut {
		why, remedy, told := strings.Cut(l.Reason, "; ") // a driver knows best what its device can do instead
		if !told {
			remedy = "choose another codec on the camera"
		}
		add("warning", "track "+l.Name+" is left out: "+why, remedy, 0)
	}
	if st.CameraOffsetKnown && (st.CameraOffset.Abs() > clockAlarm) {
		add("warning", "the camera's clock differs from the server's by "+st.CameraOffset.Round(clockRound).String(), "recordings have the server's time; set the camera's NTP server, or this server's clock if other cameras differ as much", 0)
	}
	return out
}

// Streams implements api.Backend: configured ones, and removed ones with
// footage.
func (b backend) Streams() []api.Stream {
	var out []api.Stream
	seen := map[string]bool{}
	for _, r := range b.n.streams.list() {
		seen[r.set.UID] = true
		out = append(out, b.stream(r))
	}
	if uids, err := b.n.archive.Streams(); err == nil {
		for _, uid := range uids {
			if !seen[uid] {
				out = append(out, b.footageOnly(uid))
			}
		}
	}
	slices.SortFunc(out, func(x, y api.Stream) int { return strings.Compare(strings.ToLower(x.UID), strings.ToLower(y.UID)) })
	return out
}

// Stream implements api.Backend.
func (b backend) Stream(uid string) (api.Stream, bool) {
	if r := b.n.streams.get(uid); r != nil {
		return b.stream(r), true
	}
	if _, ok := b.n.archive.Bounds(uid); ok {
		return b.footageOnly(uid), true
	}
	return api.Stream{}, false
}

// footageOnly is a stream that has footage and does not run: its file was removed, or
// has been refused since this process began.
func (b backend) footageOnly(uid string) api.Stream {
	s := api.Stream{UID: uid, Name: uid, Node: b.n.home.nodeName(), Role: "primary", State: "off",
		Settings: map[string]string{}, Tracks: []api.Track{}, Counters: map[string]uint64{}, Problems: []api.Problem{}}
	refused := b.n.current.Load().Refused[uid]
	for i := range refused {
		s.Problems = append(s.Problems, problemOf(&refused[i]))
	}
	if s.Removed = len(refused) == 0; s.Removed {
		s.Reason = "the stream file was removed; its footage stays"
	} else {
		s.State, s.Reason, s.Hint = string(stream.StateRefused), "its settings are refused: "+refused[0].What, refused[0].Hint
	}
	if k, ok := b.n.known.get(uid); ok {
		s.Name = k.Title
	}
	b.footage(&s)
	return s
}

func (b backend) footage(s *api.Stream) {
	if span, ok := b.n.archive.Bounds(s.UID); ok {
		s.FirstMS = span.From.Milli()
	}
	s.Bytes = b.n.archive.StreamBytes(s.UID)
}

func (b backend) stream(r *running) api.Stream {
	set := r.set
	s := api.Stream{
		UID: set.UID, Name: set.Config.Title(set.UID), Node: b.n.home.nodeName(), Role: "primary", State: "off",
		Settings: map[string]string{}, Tracks: []api.Track{}, Counters: map[string]uint64{}, Viewers: b.n.viewers.of(set.UID),
		Problems: []api.Problem{},
	}
	for _, it := range set.Keys {
		s.Settings[it.Key] = it.Value
	}
	for _, p := range b.n.current.Load().Refused[set.UID] {
		s.Problems = append(s.Problems, problemOf(&p))
	}
	for _, p := range b.n.drivers.problemsOf(set.UID) {
		if !slices.ContainsFunc(s.Problems, func(q api.Problem) bool { return q.What == p.What }) {
			q := problemOf(&p)
			q.UID = set.UID
			s.Problems = append(s.Problems, q)
		}
	}
	s.Problems = append(s.Problems, b.streamProblems(r)...)
	b.footage(&s)
	switch {
	case r.fail != "" && r.str == nil:
		s.State, s.Reason = "refused", r.fail
		return s
	case r.str == nil && set.Config.OnDemand:
		s.State, s.Reason = "on-demand", "captured while somebody watches"
		return s
	case r.str == nil:
		s.Reason = "stream-enable = false"
		return s
	}
	st := r.str.Status()
	s.State, s.Since, s.Reason, s.Hint = string(st.State), st.Since.Milli(), st.Reason, st.Hint
	s.BitrateIn, s.LastFrame, s.Recording, s.Device = st.BitrateIn, st.LastFrame.Milli(), st.Recording && st.State == stream.StateActive, st.Device
	s.Mode, s.RecordingWhy = st.Mode, st.Why
	s.Tracks = tracksOf(st)
	if st.CameraOffsetKnown {
		ms := st.CameraOffset.Milliseconds()
		s.ClockMS = &ms
	}
	s.Counters = map[string]uint64{
		"units": st.Units, "duplicates": st.Duplicates, "lost": st.Lost, "waiting": st.Waiting, "odd": st.Odd, "runs": st.Runs,
		"packets": st.Driver.PacketsReceived, "packets_lost": st.Driver.PacketsLost, "packets_reordered": st.Driver.PacketsReordered,
		"units_damaged": st.Driver.UnitsDamaged, "units_dropped": st.Driver.UnitsDropped, "reconnects": st.Driver.Reconnects,
		"server_clock_steps": st.Clock.ServerSteps, "camera_clock_jumps": st.Clock.CameraJumps,
	}
	return s
}

func tracksOf(st stream.Status) []api.Track {
	in, _ := hls.Carried(st.Tracks)
	out := []api.Track{}
	for _, t := range st.Tracks {
		carried := slices.ContainsFunc(in, func(x media.Track) bool { return x.ID == t.ID })
		mux.FillParameters(&t) // of a run taken up after a restart they are not told again
		out = append(out, api.Track{ID: t.ID, Kind: t.Kind().String(), Codec: string(t.Codec), Width: t.Width, Height: t.Height,
			SampleRate: t.SampleRate, Channels: t.Channels, InHLS: carried})
	}
	for _, l := range st.LeftOut {
		out = append(out, api.Track{Codec: l.Name, LeftOut: l.Reason})
	}
	return out
}

// Events implements api.Backend.
func (b backend) Events(q api.EventQuery) ([]api.Event, int64, error) {
	items, next, err := b.n.journal.List(b.n.web.ctx, journal.Filter{Types: q.Types, UID: q.UID, Level: journalLevel(q.Level), Text: q.Text,
		FromMS: q.From.Milli(), ToMS: q.To.Milli(), Before: q.Before, Limit: q.Limit})
	if err != nil {
		return nil, 0, err
	}
	out := make([]api.Event, len(items))
	for i, e := range items {
		out[i] = apiEvent(e)
	}
	return out, next, nil
}

func apiEvent(e journal.Event) api.Event {
	level := string(e.Level)
	if e.Level == journal.Warn {
		level = "warning"
	}
	return api.Event{ID: e.ID, Type: e.Type, TimeMS: e.TimeMS, Node: e.Node, UID: e.UID, Level: level, Message: e.Message, Data: e.Data}
}

func journalLevel(s string) journal.Level {
	if s == "warning" {
		return journal.Warn
	}
	return journal.Level(s)
}

// Follow implements api.Backend. The journal's channel is passed through one
// goroutine that ends with either side.
func (b backend) Follow(after int64) (<-chan api.Event, func(), error) {
	in, stop, err := b.n.journal.Subscribe(after)
	if err != nil {
		return nil, nil, err
	}
	out, quit := make(chan api.Event), make(chan struct{})
	var once sync.Once
	go func() {
		defer close(out)
		for e := range in {
			select {
			case out <- apiEvent(e):
			case <-quit:
				return
			}
		}
	}()
	return out, func() { once.Do(func() { close(quit); stop() }) }, nil
}

// Reload implements api.Backend.
func (b backend) Reload() []api.Problem {
	var out []api.Problem
	b.n.watcher.Refresh()
	for _, p := range b.n.reload(b.n.web.ctx) {
		out = append(out, problemOf(&p))
	}
	return out
}

// Audit implements api.Backend.
func (b backend) Audit(who, address, what string) {
	by := who
	if address != "0.0.0.0" { // of the control socket, which has none
		by += " (" + address + ")"
	}
	b.n.emit(event("auth.action", "", "info", by+": "+what, map[string]any{"who": who, "address": address, "what": what}))
}

// playable is the node as playback sees it.
type playable struct{ n *Node }

// Stream implements playback.Streams.
func (p playable) Stream(uid string) (playback.Stream, bool) {
	if r := p.n.streams.get(uid); r != nil {
		st := playback.Stream{UID: uid, Title: r.set.Config.Title(uid), Proto: protoSet(r.set.Config.Proto)}
		if sub := r.set.Config.Sub; sub != uid {
			st.Sub = sub
		}
		return st, true
	}
	if _, ok := p.n.archive.Bounds(uid); ok {
		k, _ := p.n.known.get(uid)
		return playback.Stream{UID: uid, Title: k.Title, Proto: protoSet(k.Proto)}, true
	}
	return playback.Stream{}, false
}

func protoSet(list []string) map[string]bool {
	if list == nil {
		return nil
	}
	m := map[string]bool{}
	for _, p := range list {
		m[p] = true
	}
	return m
}

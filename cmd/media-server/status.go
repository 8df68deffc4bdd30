package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"media-server/core/web/api"
)

type statusCmd struct {
	UID  string `arg:"" optional:"" help:"Stream; without it all."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (c *statusCmd) Run(g *globals) error {
	cl, set, err := g.server()
	if err != nil {
		return err
	}
	if c.UID != "" {
		return c.one(cl, set.Server.Zone())
	}
	s, err := askStatus(cl)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s)
	}
	s.backupDir = set.BackupDir()
	return s.print(os.Stdout, time.Now(), set.Server.Zone())
}

// status is what the server tells of itself. What it cannot tell just now, of
// a catalogue or a folder that cannot be read, is nil: problems say so.
type status struct {
	Server    api.Server         `json:"server"`
	Spaces    []api.SpaceStatus  `json:"spaces"`
	Retention *api.RetentionPlan `json:"retention,omitempty"`
	Moves     []api.Move         `json:"moves"`
	Groomings []api.Grooming     `json:"groomings"`
	Keys      *api.Keys          `json:"keys,omitempty"`
	Held      []api.HeldBack     `json:"held"`
	Today     *api.Inspection    `json:"today,omitempty"`
	Backup    *api.Backup        `json:"last_backup,omitempty"`
	Streams   []api.Stream       `json:"streams"`
	backups   bool               // the folder could be read
	backupDir string
}

func askStatus(cl *client) (*status, error) {
	s := &status{}
	if err := cl.do("GET", "/api/v1/server", nil, &s.Server); err != nil {
		return nil, err
	}
	var err error
	if s.Streams, err = all[api.Stream](cl, "/api/v1/streams"); err != nil {
		return nil, err
	}
	if s.Spaces, err = all[api.SpaceStatus](cl, "/api/v1/spaces"); err != nil {
		return nil, err
	}
	if s.Moves, err = all[api.Move](cl, "/api/v1/moves"); err != nil {
		return nil, err
	}
	if s.Groomings, err = all[api.Grooming](cl, "/api/v1/groomings"); err != nil {
		return nil, err
	}
	if s.Held, err = all[api.HeldBack](cl, "/api/v1/retention/held"); err != nil {
		return nil, err
	}
	s.Retention = try[api.RetentionPlan](cl, "/api/v1/retention")
	s.Keys = try[api.Keys](cl, "/api/v1/keys")
	s.Today, _ = inspection(cl, url.Values{"day": {"today"}})
	if list, err := all[api.Backup](cl, "/api/v1/backups"); err == nil {
		s.backups, s.Backup = true, lastBackup(list)
	}
	return s, nil
}

func try[T any](cl *client, path string) *T {
	v := new(T)
	if cl.do("GET", path, nil, v) != nil {
		return nil
	}
	return v
}

// print writes for people; now is for ages.
func (s *status) print(out io.Writer, now time.Time, zone *time.Location) error {
	v := &s.Server
	fmt.Fprintf(out, "%s (%s), up %s, %d of %d streams active, %d recording, %d viewers, %d problems\n", v.Name, v.Version,
		now.Sub(time.UnixMilli(v.Started)).Round(time.Second), v.Active, v.Streams, v.Recording, v.Viewers, v.Problems)
	printSpaces(out, s.Spaces)
	free := map[string]string{}
	if s.Retention != nil {
		printPools(out, s.Retention.Pools)
		for i := range s.Retention.Streams {
			free[s.Retention.Streams[i].UID] = freeDays(&s.Retention.Streams[i])
		}
	}
	printMoves(out, s.Moves)
	printGroomings(out, s.Groomings)
	printLocked(out, v.Locks, s.Held)
	printKeyState(out, s.Keys)
	if s.Today != nil {
		printToday(out, s.Today)
	}
	if s.backups {
		fmt.Fprintln(out, backupLine(s.Backup, s.backupDir, now, zone))
	}
	for _, p := range v.Pending {
		fmt.Fprintln(out, "waits for a restart:", p)
	}
	w := tabwriter.NewWriter(out, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tSTATE\tRECORDING\tBIT RATE\tLAST FRAME\tFOOTAGE\tFREE DAYS\tREASON")
	for _, x := range s.Streams {
		days := free[x.UID]
		if days == "" {
			days = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.UID, x.State, recording(&x), rate(x.BitrateIn), clock(x.LastFrame, now, zone), size(x.Bytes), days, x.Reason)
	}
	return w.Flush()
}

// freeDays is how long footage that is recorded now will be kept.
func freeDays(r *api.RetentionStream) string {
	if r.LimitedBy == "" {
		return ""
	}
	return fmt.Sprintf("%.1f", r.Days)
}

// recording tells whether a stream is recorded, and by which mode.
func recording(s *api.Stream) string {
	text := yes(s.Recording)
	if s.Mode != "" {
		text += ", " + s.Mode
	}
	return text
}

// oneStatus is what is told of one stream.
type oneStatus struct {
	api.Stream
	FreeDays  float64 `json:"free_days,omitempty"` // how long what is recorded now will be kept; absent = nothing limits it
	LimitedBy string  `json:"limited_by,omitempty"`
	FullIn    float64 `json:"full_in,omitempty"` // days until its pool is full, which may not overwrite
	pool      string
	known     bool // the catalogue could be read
}

func (c *statusCmd) one(cl *client, zone *time.Location) error {
	var s oneStatus
	if err := cl.do("GET", "/api/v1/streams/"+url.PathEscape(c.UID), nil, &s.Stream); err != nil {
		return err
	}
	if plan := try[api.RetentionPlan](cl, "/api/v1/retention"); plan != nil {
		s.forecast(plan)
	}
	if c.JSON {
		return printJSON(s)
	}
	s.print(os.Stdout, time.Now(), zone)
	return nil
}

func (s *oneStatus) forecast(plan *api.RetentionPlan) {
	for _, r := range plan.Streams {
		if r.UID == s.UID {
			s.known, s.pool, s.FreeDays, s.LimitedBy = true, r.Pool, r.Days, r.LimitedBy
		}
	}
	for _, p := range plan.Pools {
		if s.known && p.Name == s.pool {
			s.FullIn = p.FullIn
		}
	}
}

func (s *oneStatus) print(out io.Writer, now time.Time, zone *time.Location) {
	fmt.Fprintf(out, "%s (%s): %s", s.UID, s.Name, s.State)
	if s.Since > 0 {
		fmt.Fprintf(out, " since %s", time.UnixMilli(s.Since).In(zone).Format(time.DateTime))
	}
	fmt.Fprintln(out)
	last := ""
	if s.LastFrame > 0 {
		last = time.UnixMilli(s.LastFrame).In(zone).Format("2006-01-02 15:04:05.000") + " (" + ago(now, s.LastFrame) + ")"
	}
	record := recording(&s.Stream)
	if s.RecordingWhy != "" && s.Mode != "continuous" {
		record += ", by " + s.RecordingWhy
	}
	free := ""
	switch {
	case s.FullIn > 0:
		free = fmt.Sprintf("%.1f, then pool %s is full and recording stops", s.FullIn, s.pool)
	case s.LimitedBy != "":
		free = fmt.Sprintf("%.1f, by %s", s.FreeDays, s.LimitedBy)
	case s.known:
		free = "no limit"
	}
	for _, l := range [][2]string{{"reason", s.Reason}, {"hint", s.Hint}, {"source", s.Settings["stream-url"]}, {"device", s.Device},
		{"last frame", last}, {"bit rate", rate(s.BitrateIn)}, {"recording", record}, {"footage", size(s.Bytes)}, {"free days", free}} {
		if l[1] != "" {
			fmt.Fprintf(out, "  %-10s %s\n", l[0], l[1])
		}
	}
	for _, t := range s.Tracks {
		note := ""
		switch {
		case t.LeftOut != "":
			note = " left out: " + t.LeftOut
		case !t.InHLS:
			note = " recorded, not in HLS"
		}
		fmt.Fprintf(out, "  %-10s %s%s\n", "track", t.Codec, note)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(out, "  %-10s %s; %s\n", p.Level, p.What, p.Hint)
	}
}

// clock is a time of today, and the day as well of another.
func clock(ms int64, now time.Time, zone *time.Location) string {
	if ms <= 0 {
		return "-"
	}
	t := time.UnixMilli(ms).In(zone)
	if t.Format(time.DateOnly) != now.In(zone).Format(time.DateOnly) {
		return t.Format(time.DateTime)
	}
	return t.Format(time.TimeOnly)
}

// ago is how long before now an instant was, in the unit that says enough.
func ago(now time.Time, ms int64) string {
	d := now.Sub(time.UnixMilli(ms))
	switch {
	case d < 0:
		return "ahead of this clock"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d days ago", d/(24*time.Hour))
}

// printLocked says how much is kept whatever the rules say, and which rules
// wait for somebody.
func printLocked(out io.Writer, locks int, held []api.HeldBack) {
	fmt.Fprintf(out, "locks: %d\n", locks)
	for _, h := range held {
		if h.Space != "" {
			fmt.Fprintf(out, "held: %s of space %s would delete %s of %s at once; media-server retention confirm --space %s\n", h.Why, h.Space, size(h.Goes), size(h.Bytes), h.Space)
			continue
		}
		fmt.Fprintf(out, "held: %s of stream %s would delete %s of %s at once; media-server retention confirm %s\n", h.Why, h.UID, size(h.Goes), size(h.Bytes), h.UID)
	}
}

// printKeyState says whether footage is signed and encrypted, and what is to do
// about the keys.
func printKeyState(out io.Writer, k *api.Keys) {
	if k == nil {
		return
	}
	force := ""
	for _, x := range k.Signing {
		if x.InForce {
			force = x.ID
		}
	}
	var b strings.Builder
	switch {
	case k.Signs != "":
		b.WriteString("signing: key " + k.Signs + " in force")
		if force != "" && force != k.Signs {
			b.WriteString(", from the next start on " + force)
		}
	case force != "":
		b.WriteString("signing: off, key " + force + " is there")
	default:
		b.WriteString("signing: off")
	}
	if k.Pending {
		b.WriteString("; not saved elsewhere yet: media-server keys export -o FILE")
	}
	fmt.Fprintln(out, b.String())
	b.Reset()
	switch e := k.Encryption; {
	case k.Vault == "none":
		b.WriteString("encryption: off, no keys")
	case e == nil:
		b.WriteString("encryption: the keys cannot be used")
		if k.VaultWhy != "" {
			b.WriteString(": " + k.VaultWhy)
		}
	default:
		fmt.Fprintf(&b, "encryption: keys open, master key %s, %d keys of %d streams, %d destroyed", e.Master[:min(16, len(e.Master))], e.Keys, e.Streams, len(e.Destroyed))
	}
	fmt.Fprintln(out, b.String())
}

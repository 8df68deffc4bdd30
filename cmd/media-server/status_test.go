package main

import (
	"strings"
	"testing"
	"time"

	"media-server/core/web/api"
)

// TestPrintStatus: what an operator has to know of a server stands in it, each
// in a line of its own.
func TestPrintStatus(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) int64 { return now.Add(-d).UnixMilli() }
	s := &status{
		Server: api.Server{Name: "harbour", Version: "1", Started: at(time.Hour), Streams: 2, Active: 1, Recording: 1, Locks: 3},
		Retention: &api.RetentionPlan{Pools: []api.RetentionPool{{Name: "hot", Total: 2e12, Free: 1e12, PerDay: 1e11, Days: 12}},
			Streams: []api.RetentionStream{{UID: "gate", Pool: "hot", Days: 9.64, LimitedBy: "dvr-duration"}, {UID: "yard", Pool: "hot"}}},
		Moves: []api.Move{{From: "hot", To: "cold", State: "failing", Files: 12, Bytes: 34e8, Failures: 2, DueFiles: 5, DueBytes: 1e9, Why: "space far: lost"},
			{From: "far", To: "far", Stage: true, State: "idle", Files: 1, Bytes: 1000}},
		Groomings: []api.Grooming{{Pool: "cold", After: "30d", State: "idle", Files: 4, Freed: 1e9}},
		Held:      []api.HeldBack{{UID: "yard", Why: "dvr-duration", Goes: 8e9, Bytes: 9e9}},
		Keys: &api.Keys{Signing: []api.SigningKey{{ID: "aa"}, {ID: "bb", InForce: true}}, Signs: "aa", Pending: true, Vault: "open",
			Encryption: &api.EncryptionKeys{Master: "0123456789abcdef0123456789abcdef", Keys: 7, Streams: 2, Destroyed: []api.DestroyedKey{{}}}},
		Backup:  &api.Backup{Name: "b.backup", Size: 2e6, Made: at(9 * time.Hour)},
		backups: true, backupDir: "/nas",
		Streams: []api.Stream{{UID: "gate", State: "active", Recording: true, Mode: "continuous", BitrateIn: 4e6, LastFrame: at(time.Second)},
			{UID: "yard", State: "lost", Mode: "event", LastFrame: at(30 * time.Hour), Reason: "no route to host"}},
	}
	var b strings.Builder
	if err := s.print(&b, now, time.UTC); err != nil {
		t.Fatal(err)
	}
	want := `harbour (1), up 1h0m0s, 1 of 2 streams active, 1 recording, 0 viewers, 0 problems
pool hot: 1.0 TB of 2.0 TB free, 100.0 GB a day, 0 B locked, room for 12.0 days
pool hot: moved to pool cold, failing: 12 files since the start, 3.4 GB; 5 files wait, 1.0 GB; failed 2 times; space far: lost
pool far: moved from its stage, idle: 1 files since the start, 1.0 kB
pool cold: groomed after 30d, idle: 4 files since the start, 1.0 GB freed
locks: 3
held: dvr-duration of stream yard would delete 8.0 GB of 9.0 GB at once; media-server retention confirm yard
signing: key aa in force, from the next start on bb; not saved elsewhere yet: media-server keys export -o FILE
encryption: keys open, master key 0123456789abcdef, 7 keys of 2 streams, 1 destroyed
last backup: 2026-03-02 03:00:00 (9 h ago), 2.0 MB, b.backup in /nas
STREAM  STATE   RECORDING        BIT RATE     LAST FRAME           FOOTAGE  FREE DAYS  REASON
gate    active  yes, continuous  4.00 Mbit/s  11:59:59             0 B      9.6        
yard    lost    no, event        -            2026-03-01 06:00:00  0 B      -          no route to host
`
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
}

func TestPrintOneStatus(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	plan := &api.RetentionPlan{Streams: []api.RetentionStream{{UID: "gate", Pool: "hot", Days: 9.64, LimitedBy: "dvr-duration"}, {UID: "yard", Pool: "full", Days: 8, LimitedBy: "dvr-duration"},
		{UID: "pier", Pool: "hot"}}, Pools: []api.RetentionPool{{Name: "hot"}, {Name: "full", FullIn: 2.5}}}
	for uid, want := range map[string]string{"gate": "9.6, by dvr-duration\n", "yard": "2.5, then pool full is full and recording stops\n", "pier": "no limit\n"} {
		s := oneStatus{Stream: api.Stream{UID: uid, Name: "n", State: "active", Since: now.Add(-time.Hour).UnixMilli(), LastFrame: now.Add(-3 * time.Second).UnixMilli(),
			Recording: true, Mode: "event", RecordingWhy: "event"}}
		s.forecast(plan)
		var b strings.Builder
		s.print(&b, now, time.UTC)
		for _, line := range []string{uid + " (n): active since 2026-03-02 11:00:00\n", "  free days  " + want, "  last frame 2026-03-02 11:59:57.000 (3 s ago)\n", "  recording  yes, event, by event\n"} {
			if !strings.Contains(b.String(), line) {
				t.Errorf("%q is not in\n%s", line, b.String())
			}
		}
	}
	var b strings.Builder
	(&oneStatus{Stream: api.Stream{UID: "off", State: "off"}}).print(&b, now, time.UTC)
	if strings.Contains(b.String(), "since") || strings.Contains(b.String(), "free days") || strings.Contains(b.String(), "last frame") {
		t.Errorf("of a stream that has none of it:\n%s", b.String())
	}
}

func TestPrintKeyState(t *testing.T) {
	for want, k := range map[string]api.Keys{
		"signing: off\nencryption: off, no keys\n": {Vault: "none"},
		"signing: off, key aa is there; not saved elsewhere yet: media-server keys export -o FILE\nencryption: off, no keys\n": {Vault: "none", Pending: true, Signing: []api.SigningKey{{ID: "aa", InForce: true}}},
		"signing: key aa in force\nencryption: the keys cannot be used: no passphrase\n":                                       {Vault: "closed", VaultWhy: "no passphrase", Signs: "aa", Signing: []api.SigningKey{{ID: "aa", InForce: true}}},
	} {
		var b strings.Builder
		if printKeyState(&b, &k); b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
	}
}

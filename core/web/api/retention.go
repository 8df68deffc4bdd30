package api

import (
	"cmp"
	"fmt"

	"github.com/valyala/fasthttp"

	"media-server/core/web"
)

// RetentionChanges are settings to be tried, in ini notation and by ini key;
// none = as they are.
type RetentionChanges struct {
	Streams map[string]map[string]string `json:"streams"` // uid → dvr-duration, dvr-keep, dvr-capacity, dvr-pool
	Pools   map[string]map[string]string `json:"pools"`   // name → days, groom-after, overwrite-free, overwrite
	Spaces  map[string]map[string]string `json:"spaces"`  // name → size-limit, reserve
}

// RetentionStream is what becomes of one stream's footage.
type RetentionStream struct {
	UID       string   `json:"uid"`
	Pool      string   `json:"pool"`
	Bytes     int64    `json:"bytes"`
	First     int64    `json:"first_ms,omitempty"`
	Last      int64    `json:"last_ms,omitempty"`
	PerDay    int64    `json:"bytes_per_day"`
	Locked    int64    `json:"locked_bytes"`
	Days      float64  `json:"days,omitempty"`       // how long footage will be kept; absent = nothing limits it
	LimitedBy string   `json:"limited_by,omitempty"` // the rule
	Deletes   int      `json:"deletes_files"`        // that would go now
	Goes      int64    `json:"deletes_bytes"`
	GoneFrom  int64    `json:"deletes_from_ms,omitempty"`
	GoneTo    int64    `json:"deletes_to_ms,omitempty"`
	Why       []string `json:"deletes_why,omitempty"`
	Asks      bool     `json:"asks,omitempty"`         // more than delete-most: somebody would have to confirm
	Broken    bool     `json:"keep_broken,omitempty"`  // dvr-keep would not be held
	KeepDays  float64  `json:"keep_days,omitempty"`    // dvr-keep
	Short     bool     `json:"keep_at_risk,omitempty"` // days is less than dvr-keep

	Grooms     int   `json:"grooms_files,omitempty"`      // that are old enough to keep their key frames only
	GroomBytes int64 `json:"grooms_bytes,omitempty"`      // what they take now
	GroomGain  int64 `json:"grooms_gain_bytes,omitempty"` // what of that will be free, estimated
}

// RetentionPool is what becomes of a pool.
type RetentionPool struct {
	Name      string  `json:"name"`
	Total     int64   `json:"total_bytes"`
	Free      int64   `json:"free_bytes"`
	Usable    int64   `json:"usable_bytes"`
	Locked    int64   `json:"locked_bytes"`
	PerDay    int64   `json:"bytes_per_day"`
	Overwrite bool    `json:"overwrite"`
	Days      float64 `json:"days,omitempty"`    // footage older than that goes for want of room
	FullIn    float64 `json:"full_in,omitempty"` // days until a pool that may not overwrite is full
}

// RetentionPlan is the answer of retention/preview.
type RetentionPlan struct {
	Now     int64 `json:"now_ms"`
	Deletes int   `json:"deletes_files"`
	Goes    int64 `json:"deletes_bytes"`

	Grooms    int   `json:"grooms_files"`
	GroomGain int64 `json:"grooms_gain_bytes"`

	Streams []RetentionStream `json:"streams"`
	Pools   []RetentionPool   `json:"pools"`
	Spaces  []RetentionSpace  `json:"spaces,omitempty"` // of a preview
}

// RetentionSpace is what thresholds and limits would delete in a space.
type RetentionSpace struct {
	Name    string `json:"name"`
	Total   int64  `json:"total_bytes"`
	Free    int64  `json:"free_bytes"`
	Over    int64  `json:"over_bytes,omitempty"` // by which it holds more than it may
	Deletes int    `json:"deletes_files"`        // that would go for want of room now
	Goes    int64  `json:"deletes_bytes"`
	Why     string `json:"deletes_why,omitempty"`
	Asks    bool   `json:"asks,omitempty"` // more than delete-most: somebody would have to confirm
}

// HeldBack is a stream or a space whose rules wait for a confirmation.
type HeldBack struct {
	UID   string `json:"uid,omitempty"`
	Space string `json:"space,omitempty"`
	Why   string `json:"why"`
	Files int    `json:"deletes_files,omitempty"`
	Goes  int64  `json:"deletes_bytes"`
	Bytes int64  `json:"bytes"`
	Since int64  `json:"since_ms"`
}

// Retention is the part of Backend that tells what goes and when.
type Retention interface {
	// RetentionPreview changes nothing. The error says which change cannot be.
	RetentionPreview(c RetentionChanges) (*RetentionPlan, error)
	// RetentionOutlook is the same as things are, without a plan of what goes.
	RetentionOutlook() (*RetentionPlan, error)
	RetentionHeld() []HeldBack
	// ConfirmRetention tells whether something of the stream was held back.
	ConfirmRetention(uid string) bool
	// ConfirmSpace tells whether something in the space was held back.
	ConfirmSpace(name string) bool
}

var retentionRoutes = []route{
	{"GET", "retention", Viewer, (*API).retention},
	{"POST", "retention/preview", Operator, (*API).retentionPreview},
	{"GET", "retention/held", Viewer, (*API).retentionHeld},
	{"POST", "retention/confirm", Administrator, (*API).confirmRetention},
}

func (a *API) retentionPreview(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	var c RetentionChanges
	if len(ctx.PostBody()) > 0 {
		if e := strict(ctx, &c); e != nil {
			return e
		}
	}
	plan, err := a.b.RetentionPreview(c)
	if err != nil {
		return web.E(400, "retention", err.Error(), "")
	}
	web.JSON(ctx, plan)
	return nil
}

func (a *API) retention(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	plan, err := a.b.RetentionOutlook()
	if err != nil {
		return unreadable(err)
	}
	web.JSON(ctx, plan)
	return nil
}

func (a *API) retentionHeld(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	return answerPage(ctx, a.b.RetentionHeld(), func(x *HeldBack) string { return x.UID + "\x00" + x.Space })
}

func (a *API) confirmRetention(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	var in struct{ UID, Space string }
	if e := strict(ctx, &in); e != nil {
		return e
	}
	var held bool
	what := fmt.Sprintf("stream %q", in.UID)
	switch {
	case in.UID != "" && in.Space != "":
		return web.E(400, "both", "uid and space are both given", "confirm one after the other")
	case in.Space != "":
		held, what = a.b.ConfirmSpace(in.Space), fmt.Sprintf("space %q", in.Space)
	default:
		held = a.b.ConfirmRetention(in.UID)
	}
	if !held {
		return web.E(404, "nothing_held", "no rule of "+what+" waits for a confirmation", "those that do are at /api/v1/retention/held")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "confirmed what the rules of "+cmp.Or(in.UID, "space "+in.Space)+" delete")
	ctx.SetStatusCode(204)
	return nil
}

package api

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"media-server/core/urls"
	"media-server/core/web"
)

// Addresses tells where clients find a stream (door).
type Addresses interface {
	// URLs are those of a stream for a client; one that is not valid stands for
	// whoever asks. The token is put into each; "" = none.
	URLs(ctx *fasthttp.RequestCtx, client netip.Addr, uid, token string) map[string]string
	// Base is scheme and authority of this API for whoever asks.
	Base(ctx *fasthttp.RequestCtx) string
	// Map is the map of addresses in force.
	Map() []urls.Mapping
}

// Mapped is an item of GET address-map, in ini notation.
type Mapped struct {
	Name    string   `json:"name"`
	Inner   string   `json:"inner"`
	Outer   string   `json:"outer"`
	Clients []string `json:"clients"`
}

// Whoever may hand URLs out may know what they are made of.
var addressRoutes = []route{
	{"GET", "streams/{uid}/urls", Viewer, (*API).urls},
	{"GET", "address-map", Operator, (*API).addressMap},
	{"GET", "address-map.csv", Operator, (*API).addressMapCSV},
}

// urls answers with all URLs of a stream for who asks, or for ?client=ADDRESS: a
// program inside asks for a viewer outside.
func (a *API) urls(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	s, e := a.one(args)
	if e != nil {
		return e
	}
	var client netip.Addr
	if v := string(ctx.QueryArgs().Peek("client")); v != "" {
		var err error
		if client, err = netip.ParseAddr(v); err != nil {
			return web.E(400, "bad_client", fmt.Sprintf("client %.60q is not an address", v), "write for example client=203.0.113.7, or leave it out for your own")
		}
	}
	web.JSON(ctx, a.addresses.URLs(ctx, client, s.UID, ""))
	return nil
}

func (a *API) mapped() []Mapped {
	out := []Mapped{}
	for _, m := range a.addresses.Map() {
		x := Mapped{Name: m.Name, Inner: m.Inner.String(), Outer: m.Outer.String()}
		for _, n := range m.Clients {
			x.Clients = append(x.Clients, n.String())
		}
		out = append(out, x)
	}
	return out
}

func (a *API) addressMap(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	return answerPage(ctx, a.mapped(), func(m *Mapped) string { return m.Name })
}

// addressMapCSV is the whole map for a spreadsheet.
func (a *API) addressMapCSV(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	lines := [][]string{{"name", "inner", "outer", "clients"}}
	for _, m := range a.mapped() {
		lines = append(lines, []string{m.Name, m.Inner, m.Outer, strings.Join(m.Clients, " ")})
	}
	if err := w.WriteAll(lines); err != nil {
		return web.E(500, "internal", "the list could not be written", "")
	}
	ctx.SetContentType("text/csv; charset=utf-8")
	ctx.Response.Header.Set("Content-Disposition", `attachment; filename="address-map.csv"`)
	ctx.SetBody(b.Bytes())
	return nil
}

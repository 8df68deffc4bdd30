package door

import (
	"net/netip"

	"github.com/valyala/fasthttp"

	"media-server/core/urls"
	"media-server/core/web"
)

// Addresses tells at which URLs a client finds a stream. Safe for concurrent use.
type Addresses struct {
	Door     *Door
	Config   func() *urls.Config
	Services func() []urls.Service
	Proto    func(uid string) map[string]bool // what a stream offers; nil = all
	Name     func() string                    // of this server, for who asks over the control socket
}

// URLs are those of a stream for a client; one that is not valid stands for whoever
// asks. The token is put into each, "" = none. What of the request outlives this call
// is copied.
func (a *Addresses) URLs(ctx *fasthttp.RequestCtx, client netip.Addr, uid, token string) map[string]string {
	services := a.Services()
	ask := a.asker(ctx, services)
	if client.IsValid() {
		ask.Client = client
	}
	return a.Config().URLs(ask, services, urls.Stream{UID: uid, Proto: a.Proto(uid), Token: token})
}

// Base is scheme and authority by which who asks reaches this server's pages and API,
// also behind a proxy that speaks TLS.
func (a *Addresses) Base(ctx *fasthttp.RequestCtx) string {
	services := a.Services()
	return a.Config().Base(a.asker(ctx, services), services)
}

// Map is the map in force.
func (a *Addresses) Map() []urls.Mapping { return a.Config().Map }

// asker is who has sent a request, as far as that is known for certain: an address in a
// header counts if a trusted proxy wrote it.
func (a *Addresses) asker(ctx *fasthttp.RequestCtx, services []urls.Service) urls.Asker {
	if web.IsControl(ctx.Conn()) {
		return local(a.Name(), services)
	}
	ask := urls.Asker{Client: a.Door.client(ctx), Host: string(ctx.Host()), Secure: a.Door.Secure(ctx), Service: "http"}
	if ctx.IsTLS() {
		ask.Service = "https"
	}
	if ip, ok := netip.AddrFromSlice(ctx.LocalIP()); ok && !ip.IsUnspecified() {
		ask.Local = ip.Unmap()
	}
	if ask.Host == "" && ask.Local.IsValid() { // HTTP/1.0
		ask.Host = ctx.LocalAddr().String()
	}
	return ask
}

// local is somebody on this machine: what he is told is for others.
func local(name string, services []urls.Service) urls.Asker {
	for _, s := range services {
		if s.Enable && (s.Name == "http" || s.Name == "https") {
			return urls.Asker{Host: urls.Place{Host: name, Port: s.Port}.String(), Secure: s.Name == "https", Service: s.Name}
		}
	}
	return urls.Asker{Host: name, Service: "http"}
}

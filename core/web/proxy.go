package web

import (
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// believe gives a request that comes over a trusted proxy the address of the
// client behind it: the last address in X-Forwarded-For that is not itself a
// trusted proxy's. What stands before it was written by the client and proves
// nothing. Peer still tells who connected.
func (s *Server) believe(ctx *fasthttp.RequestCtx) {
	ctx.SetRemoteAddr(nil) // the context is used again for the connection's next request
	peer, ok := Peer(ctx)
	if !ok || !within(s.opt.TrustedProxies, peer) {
		return
	}
	var hops []string
	for _, h := range ctx.Request.Header.PeekAll("X-Forwarded-For") {
		hops = append(hops, strings.Split(string(h), ",")...)
	}
	for i := len(hops) - 1; i >= 0; i-- {
		ip, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return // neither this one nor those before it can be believed
		}
		ip = ip.Unmap().WithZone("")
		if i == 0 || !within(s.opt.TrustedProxies, ip) {
			ctx.SetRemoteAddr(&net.TCPAddr{IP: ip.AsSlice()})
			return
		}
	}
}

// Peer is the address of whoever connected: a proxy's where there is one.
// RemoteIP is the client's.
func Peer(ctx *fasthttp.RequestCtx) (netip.Addr, bool) {
	if ctx.Conn() == nil {
		return netip.Addr{}, false
	}
	a, ok := ctx.Conn().RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(a.IP)
	return ip.Unmap(), ok
}

func within(nets []netip.Prefix, ip netip.Addr) bool {
	for _, p := range nets {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

package access

import "net/netip"

// Rule is a stream's stream-access.
type Rule string

// Rules.
const (
	Public    Rule = "public"    // anyone
	Protected Rule = "protected" // listed addresses, and whoever may use private streams
	Private   Rule = "private"   // a session or token that may view
)

// Request is somebody who wants to play a stream.
type Request struct {
	UID       string
	Rule      Rule
	Whitelist []netip.Prefix // of a protected stream
	Address   netip.Addr     // where the request came from
	Presented bool           // a credential was given, good or not
	Who       Identity       // whose it is; zero = nobody's
}

// Decision says whether it may.
type Decision struct {
	Allow   bool
	Status  int    // 401 or 403 where it may not
	Code    string // for programs
	Message string
	Hint    string
}

// Decide is a pure function: the same request is always answered the same. A
// rule it does not know is treated as private.
func Decide(r Request) Decision {
	allow := Decision{Allow: true}
	if r.Rule == Public {
		return allow
	}
	if r.Who.Role >= Viewer && !r.Who.MustChange {
		return allow
	}
	if r.Rule == Protected {
		addr := r.Address.Unmap().WithZone("")
		for _, p := range r.Whitelist {
			if addr.IsValid() && p.Contains(addr) {
				return allow
			}
		}
	}
	switch {
	case r.Who.MustChange:
		return Decision{Status: 403, Code: "change_password", Message: "the first password has to be changed before anything else", Hint: "log in at /cpanel/"}
	case r.Presented:
		return Decision{Status: 401, Code: "bad_token", Message: "the token is unknown, expired or revoked", Hint: "get a new one"}
	case r.Rule == Protected:
		return Decision{Status: 403, Code: "address", Message: "this stream is not for your address", Hint: "stream-whitelist names those it is for"}
	}
	return Decision{Status: 401, Code: "no_token", Message: "this stream needs a token", Hint: "add ?token= or an Authorization header"}
}

// OpenTo tells whether api-open-to lets an address use the API without a
// login. A request that came through a proxy never is: its address is the
// proxy's.
func (a *Access) OpenTo(address netip.Addr, forwarded bool) bool {
	if forwarded || !address.IsValid() {
		return false
	}
	address = address.Unmap().WithZone("")
	for _, p := range a.o.Config.APIOpenTo {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

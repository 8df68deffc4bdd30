package access

import (
	"errors"
	"net/netip"
)

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

	Play    *PlayToken // a play token that is good; nil = none was given, or see PlayErr
	PlayErr error      // why one that was given is not

	Live            bool
	Unknown         bool  // what is asked for is not known yet: who plays keeps within the Decision's span
	FromMS, ToMS    int64 // what is asked for, Unix ms; ToMS 0 = to the end
	NowMS           int64
	Certified       bool // by a Digest account that may play
	MustBeCertified bool // nobody but listed addresses, tokens and accounts plays, also what is public
}

// Decision says whether it may.
type Decision struct {
	Allow   bool
	Status  int    // 401 or 403 where it may not
	Code    string // for programs
	Message string
	Hint    string

	// Within is the span that may be played, Unix ms; 0 = no bound on that side.
	FromMS, ToMS int64
}

// Decide is a pure function: the same request is always answered the same. A
// rule it does not know is treated as private.
func Decide(r Request) Decision {
	allow := Decision{Allow: true}
	if r.Rule == Public && !r.MustBeCertified || r.Certified {
		return allow // not even a bad token keeps anyone from a public stream
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
	if r.Play != nil {
		return r.byToken()
	}
	switch {
	case r.Who.MustChange:
		return Decision{Status: 403, Code: "change_password", Message: "the first password has to be changed before anything else", Hint: "log in at /cpanel/"}
	case errors.Is(r.PlayErr, ErrExpired):
		return Decision{Status: 401, Code: "token_expired", Message: "the token has expired", Hint: "get a new one"}
	case errors.Is(r.PlayErr, ErrRevoked):
		return Decision{Status: 401, Code: "token_revoked", Message: "the token was revoked", Hint: "get a new one"}
	case r.Presented || r.PlayErr != nil:
		return Decision{Status: 401, Code: "bad_token", Message: "the token is unknown, expired or revoked", Hint: "get a new one"}
	case r.Rule == Protected:
		return Decision{Status: 403, Code: "address", Message: "this stream is not for your address", Hint: "stream-whitelist names those it is for"}
	}
	return Decision{Status: 401, Code: "no_token", Message: "this stream needs a token", Hint: "add ?token= or an Authorization header"}
}

// byToken decides by a play token that is good in itself.
func (r *Request) byToken() Decision {
	t := r.Play
	addr := r.Address.Unmap().WithZone("")
	refuse := Decision{Status: 403, Hint: "get a token for what is to be played"}
	switch {
	case t.UID != r.UID:
		refuse.Code, refuse.Message = "other_stream", "the token is for another stream"
		return refuse
	case t.Address.IsValid() && !(addr.IsValid() && t.Address.Contains(addr)):
		refuse.Code, refuse.Message = "other_address", "the token is for another address"
		if !addr.IsValid() {
			refuse.Hint = "the address behind a proxy counts if [http] trusted-proxies names the proxy"
		}
		return refuse
	}
	from, to := r.FromMS, r.ToMS
	switch {
	case r.Live:
		from, to = r.NowMS, r.NowMS
	case r.Unknown:
		return Decision{Allow: true, FromMS: t.FromMS, ToMS: t.ToMS}
	}
	if from < t.FromMS || t.ToMS != 0 && (to == 0 || to > t.ToMS) {
		refuse.Code, refuse.Message = "other_time", "the token is for another time"
		refuse.FromMS, refuse.ToMS = t.FromMS, t.ToMS
		return refuse
	}
	return Decision{Allow: true, FromMS: t.FromMS, ToMS: t.ToMS}
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

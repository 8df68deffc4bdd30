package snapshot

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/icholy/digest"

	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

// Source is where a camera has its picture.
type Source struct {
	URL       string // http:// or https://, without an account
	User      *url.Userinfo
	VerifyTLS bool // refuse certificates that no authority of this machine vouches for
}

// Check tells what is wrong with an address; nil = nothing.
func Check(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("it is no address")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("it is not an address of http:// or https://")
	case u.User != nil:
		return errors.New("it has an account; that of stream-url is used, and shown nowhere")
	}
	return nil
}

// Get gets the picture: a JPEG of sdk.MaxSnapshot bytes at most. Safe for concurrent use.
func Get(ctx context.Context, src Source) ([]byte, error) {
	if err := Check(src.URL); err != nil {
		return nil, sdk.Fail(pb.Cause_SETTINGS, "driver-snapshot: "+err.Error(), "write it as http://host/path")
	}
	// #nosec G402 -- cameras sign their own certificates; tls-verify asks for better
	plain := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: !src.VerifyTLS}}
	c := &http.Client{Transport: plain, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme || len(via) > 3 {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	ask := func() (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, src.URL, nil)
		if err != nil {
			return nil, err
		}
		return c.Do(r)
	}
	resp, err := ask()
	if err == nil && resp.StatusCode == http.StatusUnauthorized && src.User != nil {
		resp.Body.Close()
		// The account is sent as it was asked for, not before.
		name := src.User.Username()
		password, _ := src.User.Password()
		_, ferr := digest.FindChallenge(resp.Header)
		switch kinds := asked(resp.Header); {
		case ferr == nil:
			c.Transport = &digest.Transport{Username: name, Password: password, Transport: plain}
		case slices.Contains(kinds, "basic"):
			c.Transport = basic{plain, name, password}
		default: // nothing is shown
			return nil, sdk.Fail(pb.Cause_UNSUPPORTED, fmt.Sprintf("the camera asks for a login of a kind that is not known here: %q", kinds), "have it ask for Digest (MD5 or SHA-256)")
		}
		resp, err = ask()
	}
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the address
		}
		return nil, sdk.Fail(pb.Cause_UNREACHABLE, "the camera's picture cannot be had: "+err.Error(), "see driver-snapshot; try the address in a browser")
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, sdk.Fail(pb.Cause_REFUSED, "the camera refuses its picture: "+resp.Status, "user and password are those of stream-url")
	default:
		return nil, sdk.Fail(pb.Cause_NOT_FOUND, "the camera answers "+resp.Status, "see driver-snapshot; try the address in a browser")
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, sdk.MaxSnapshot+1))
	switch {
	case err != nil:
		return nil, sdk.Fail(pb.Cause_LOST, "the camera's picture broke off: "+err.Error(), "")
	case len(b) > sdk.MaxSnapshot:
		return nil, sdk.Fail(pb.Cause_UNSUPPORTED, fmt.Sprintf("the camera's picture has more than %d bytes", sdk.MaxSnapshot), "have it make a smaller one")
	case !bytes.HasPrefix(b, []byte{0xff, 0xd8, 0xff}):
		return nil, sdk.Fail(pb.Cause_UNSUPPORTED, "what the camera gives is not a JPEG: "+resp.Header.Get("Content-Type"), "see driver-snapshot; try the address in a browser")
	}
	return b, nil
}

// asked names the kinds of login that an answer asks for, in lower case.
func asked(h http.Header) (kinds []string) {
	for _, v := range h.Values("WWW-Authenticate") {
		kind, _, _ := strings.Cut(strings.TrimSpace(v), " ")
		kinds = append(kinds, strings.ToLower(kind))
	}
	return kinds
}

// basic shows an account with each request (RFC 7617).
type basic struct {
	http.RoundTripper
	name, password string
}

func (b basic) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(b.name, b.password)
	return b.RoundTripper.RoundTrip(r)
}

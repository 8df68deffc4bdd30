package rtspsource

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

// Everything an operator reads about a connection is made here, so that no
// error of another package, which might quote the URL, is shown as it is.

func unreachable(host string, err error) error {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var head tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	what, hint := "cannot connect to "+host, "check the address and that the device is switched on"
	switch {
	case errors.As(err, &dns):
		what = "the name in " + host + " is not known"
		hint = "check the host name, or write the device's address"
	case errors.As(err, &cert), errors.As(err, &unknown):
		return sdk.Fail(pb.Cause_REFUSED, "the certificate of "+host+" is not trusted",
			"set driver-tls-verify = false, or install the certificate's authority on this machine")
	case errors.As(err, &head):
		what = host + " does not speak TLS"
		hint = "use rtsp:// or the port for rtsps"
	case errors.Is(err, syscall.ECONNREFUSED):
		what = host + " refuses the connection"
		hint = "RTSP may be off on the device, or on another port"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		what = "there is no way to " + host
		hint = "check the network between this machine and the device"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		what = host + " does not answer"
	}
	return sdk.Fail(pb.Cause_UNREACHABLE, what, hint)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// lost says how an established connection ended.
func lost(host string, err error) error {
	what := host + " closed the connection"
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		what = host + " reset the connection"
	} else if errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) {
		what = "the network to " + host + " failed"
	}
	return sdk.Fail(pb.Cause_LOST, what, "")
}

func silent(host, what, hint string) error {
	return sdk.Fail(pb.Cause_SILENT, host+" "+what, hint)
}

func nonsense(host, what string) error {
	return sdk.Fail(pb.Cause_PROTOCOL, host+" "+what, "check that the URL points to an RTSP service")
}

// refusedBy says what an error status to a request means.
func refusedBy(host, method string, code int, hasUser bool) error {
	switch code {
	case 401:
		if !hasUser {
			return sdk.Fail(pb.Cause_REFUSED, host+" asks for a user name and password",
				"write them into the URL: rtsp://user:password@…")
		}
		return sdk.Fail(pb.Cause_REFUSED, host+" refuses the user name or password",
			"check both on the device; some devices lock an account for minutes after wrong tries")
	case 403:
		return sdk.Fail(pb.Cause_REFUSED, host+" forbids this stream", "the account may lack the right to view")
	case 404, 410:
		return sdk.Fail(pb.Cause_NOT_FOUND, host+" has no stream at this path", "check the path of the URL in the device's manual")
	case 461:
		return sdk.Fail(pb.Cause_UNSUPPORTED, host+" refuses this transport", "try driver-transport = auto")
	case 453, 503:
		return sdk.Fail(pb.Cause_UNREACHABLE, fmt.Sprintf("%s is busy (status %d)", host, code),
			"the device may be out of sessions: close other viewers")
	}
	return sdk.Fail(pb.Cause_PROTOCOL, fmt.Sprintf("%s answers %s with status %d", host, method, code),
		"check the path of the URL and the device's log")
}

func nothing(host string, left []sdk.LeftOut) error {
	if len(left) == 0 {
		return sdk.Fail(pb.Cause_UNSUPPORTED, host+" offers none of the wanted tracks", "check stream-tracks")
	}
	var all []string
	for _, l := range left[:min(len(left), 4)] {
		all = append(all, l.Name+": "+l.Reason)
	}
	return sdk.Fail(pb.Cause_UNSUPPORTED, host+" offers no track that can be stored", strings.Join(all, "; "))
}

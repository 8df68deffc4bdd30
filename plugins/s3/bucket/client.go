package bucket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tries of one request: with the waits between them a server that restarts in
// a second is not noticed, and one that is gone is told of soon.
const tries = 3

// client speaks to one bucket.
type client struct {
	core    *minio.Core
	up      *minio.Core // for what is sent: its answer may wait for the bytes, not only the server
	set     Settings
	dropped func() // closes idle connections
}

func newClient(set Settings) (*client, error) {
	t := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: min(set.Timeout, 5*time.Second), KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   min(set.Timeout, 10*time.Second),
		ResponseHeaderTimeout: set.Timeout,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
	}
	if set.CA != "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		roots.AppendCertsFromPEM([]byte(set.CA))
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	sends := t.Clone()
	sends.ResponseHeaderTimeout = 0 // try bounds it
	c := &client{set: set, dropped: func() { t.CloseIdleConnections(); sends.CloseIdleConnections() }}
	var err error
	for _, x := range []struct {
		core **minio.Core
		t    *http.Transport
	}{{&c.core, t}, {&c.up, sends}} {
		*x.core, err = minio.NewCore(set.Endpoint, &minio.Options{
			Creds: credentials.NewStaticV4(set.AccessKey, set.SecretKey, ""), Secure: set.TLS, Region: set.Region,
			Transport: x.t, MaxRetries: 1,
		})
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// key is the object of a file.
func (c *client) key(name string) string { return c.set.Prefix + name }

// try carries out a request that moves about n bytes, up to three times. Its
// errors are those of the protocol.
func (c *client) try(ctx context.Context, what string, n int64, f func(context.Context) error) error {
	limit := c.set.Timeout + time.Duration(n/minRate)*time.Second
	for i := 0; ; i++ {
		tctx, cancel := context.WithTimeout(ctx, limit)
		err := f(tctx)
		late := tctx.Err() != nil
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return status.FromContextError(ctx.Err()).Err()
		case i+1 < tries && (late || again(err)):
			wait := time.NewTimer(200*time.Millisecond<<i + time.Duration(rand.IntN(100))*time.Millisecond)
			select {
			case <-wait.C:
			case <-ctx.Done():
				wait.Stop()
			}
			continue
		case late:
			return status.Errorf(codes.Unavailable, "%s: %s did not answer within %s", what, c.set.Endpoint, limit)
		}
		return toStatus(what, err)
	}
}

// again tells whether a request may do better the next time.
func again(err error) bool {
	r := minio.ToErrorResponse(err)
	switch r.Code {
	case "SlowDown", "SlowDownRead", "SlowDownWrite", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted":
		return true
	}
	return r.StatusCode >= 500 && r.StatusCode != http.StatusInsufficientStorage || r.Code == "" || r.StatusCode == 0 && isNet(err)
}

func isNet(err error) bool {
	var n net.Error
	return errors.As(err, &n)
}

// toStatus gives an answer of the server its code in the protocol.
func toStatus(what string, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	r := minio.ToErrorResponse(err)
	code := codes.Unavailable
	switch r.Code {
	case "NoSuchKey", "NotFound", "NoSuchUpload":
		code = codes.NotFound
	case "PreconditionFailed":
		code = codes.AlreadyExists
	case "InvalidRange":
		code = codes.OutOfRange
	case "QuotaExceeded", "XMinioStorageFull", "EntityTooLarge", "XMinioAdminBucketQuotaExceeded":
		code = codes.ResourceExhausted
	case "AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch":
		code = codes.PermissionDenied
	}
	if r.StatusCode == http.StatusInsufficientStorage {
		code = codes.ResourceExhausted
	}
	if r.StatusCode == http.StatusNotFound && code == codes.Unavailable && r.Code != "NoSuchBucket" {
		code = codes.NotFound
	}
	text := r.Code
	if r.Message != "" {
		text = r.Message
	}
	if r.Code == "" || r.StatusCode == 0 {
		text = err.Error()
	}
	return status.Error(code, fmt.Sprintf("%s: %s", what, text))
}

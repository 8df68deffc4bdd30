package bucket

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

// Settings are the keys of [space.NAME] that this storage understands.
type Settings struct {
	Endpoint  string // host or host:port
	Bucket    string
	Prefix    string // "" or ending in /
	Region    string
	AccessKey string
	SecretKey string
	TLS       bool
	CA        string // PEM of CAs that are trusted beside those of the system; "" = none
	PartSize  int64
	Timeout   time.Duration // for an answer
	SizeLimit int64         // 0 = none
}

const (
	minPart = 5 << 20 // S3 allows no smaller one but the last
	maxPart = 256 << 20

	// minRate is the slowest transfer that is waited for, in bytes a second.
	minRate = 256 << 10
)

// Keys describes the settings. Those every space has (path, reserve, fsync)
// mean nothing here and are passed over.
func Keys() []sdk.Key {
	return []sdk.Key{
		{Name: "endpoint", Type: sdk.String, Required: true, Help: "Address of the S3 server, host or host:port."},
		{Name: "bucket", Type: sdk.String, Required: true, Help: "Bucket; it must be there."},
		{Name: "prefix", Type: sdk.String, Help: "What the names of all objects begin with, so that a bucket may hold several spaces."},
		{Name: "region", Type: sdk.String, Default: "us-east-1", Help: "Region of the bucket."},
		{Name: "access-key", Type: sdk.String, Required: true, Help: "Access key; ${ENV} or ${file:/path} keeps it out of the file."},
		{Name: "secret-key", Type: sdk.Secret, Required: true, Help: "Secret key; ${ENV} or ${file:/path} keeps it out of the file."},
		{Name: "tls", Type: sdk.Bool, Default: "on", Help: "Whether the server is spoken to over TLS."},
		{Name: "ca-file", Type: sdk.String, Help: "PEM file of a certificate authority of your own that is trusted beside those of the system; read when the space is opened."},
		{Name: "part-size", Type: sdk.Size, Default: "16M", Help: "Files are uploaded in parts of this size; one of each upload is held in memory. 5M to 256M."},
		{Name: "timeout", Type: sdk.Duration, Default: "10s", Help: "How long the server may take for an answer before the request is tried again."},
		{Name: "size-limit", Type: sdk.Size, Default: "0", Help: "Most bytes the space may hold; 0 = no limit."},
	}
}

// ParseSettings reads the keys; a problem is nil when all is well. Values are
// not quoted where they may be secret.
func ParseSettings(m map[string]string) (Settings, *pb.Problem) {
	s := Settings{Region: "us-east-1", TLS: true, PartSize: 16 << 20, Timeout: 10 * time.Second}
	var bad *pb.Problem
	fail := func(key, what, hint string) {
		if bad == nil {
			bad = &pb.Problem{Key: key, What: what, Hint: hint}
		}
	}
	for k, v := range m {
		v = strings.TrimSpace(v)
		var err error
		switch k {
		case "endpoint":
			s.Endpoint = v
		case "bucket":
			s.Bucket = v
		case "prefix":
			s.Prefix = strings.Trim(v, "/")
		case "region":
			if v != "" {
				s.Region = v
			}
		case "access-key":
			s.AccessKey = v
		case "secret-key":
			s.SecretKey = v
		case "tls":
			switch strings.ToLower(v) {
			case "on", "true", "yes":
				s.TLS = true
			case "off", "false", "no":
				s.TLS = false
			default:
				fail(k, "is neither on nor off", "on or off")
			}
		case "ca-file":
			if s.CA, err = readCA(v); err != nil {
				fail(k, err.Error(), "the certificate of the authority that signed the server's, in PEM form, for the server to read")
			}
		case "part-size":
			if s.PartSize, err = parseSize(v); err != nil || s.PartSize < minPart || s.PartSize > maxPart {
				fail(k, "is not a size from 5M to 256M", "like 16M")
			}
		case "timeout":
			if s.Timeout, err = time.ParseDuration(v); err != nil || s.Timeout < time.Second || s.Timeout > 2*time.Minute {
				fail(k, "is not a time from 1s to 2m", "like 10s")
			}
		case "size-limit":
			if s.SizeLimit, err = parseSize(v); err != nil {
				fail(k, "is not a number of bytes", "like 500G; a share is not possible, a bucket has no size")
			}
		case "path", "reserve", "fsync":
		default:
			fail(k, "unknown key", "known: endpoint, bucket, prefix, region, access-key, secret-key, tls, ca-file, part-size, timeout, size-limit")
		}
	}
	for _, k := range []struct{ name, value string }{{"endpoint", s.Endpoint}, {"bucket", s.Bucket}, {"access-key", s.AccessKey}, {"secret-key", s.SecretKey}} {
		if k.value == "" {
			fail(k.name, "is missing", "the space needs endpoint, bucket, access-key and secret-key")
		}
	}
	if strings.ContainsAny(s.Endpoint, "/@") {
		fail("endpoint", "is not a host or host:port", "without http://; tls = on or off says which")
	}
	if host, port, err := net.SplitHostPort(s.Endpoint); err == nil && (host == "" || port == "") {
		fail("endpoint", "is not a host or host:port", "like s3.example.org or 10.0.0.5:9000")
	}
	if s.Prefix != "" {
		if CheckName(s.Prefix) != nil || len(s.Prefix) > 100 {
			fail("prefix", "has characters that names may not have", "A-Z a-z 0-9 . _ - and /, at most 100")
		}
		s.Prefix += "/"
	}
	return s, bad
}

// readCA reads a PEM file of certificates.
func readCA(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(b) {
		return "", errors.New("holds no certificate")
	}
	return string(b), nil
}

func parseSize(v string) (int64, error) {
	shift := 0
	if v != "" {
		if i := strings.IndexByte("KMGT", v[len(v)-1]); i >= 0 {
			shift, v = 10*(i+1), v[:len(v)-1]
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("not a size")
	}
	return n << shift, nil
}

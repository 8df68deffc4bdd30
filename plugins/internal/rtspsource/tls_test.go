package rtspsource

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"media-server/plugins/sdk/pb"
)

// secure is a gortsplib server with TLS; it announces SRTP, as some cameras do
// for rtsps, and must still take plain RTP inside TLS.
type secure struct{ stream *gortsplib.ServerStream }

func (s *secure) OnDescribe(*gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, s.stream, nil
}

func (s *secure) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, s.stream, nil
}

func (s *secure) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func selfSigned(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestRTSPS(t *testing.T) {
	h := &secure{}
	var addr string
	srv := &gortsplib.Server{
		Handler: h, RTSPAddress: "127.0.0.1:0",
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}},
		Listen: func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			if err == nil {
				addr = l.Addr().String()
			}
			return l, err
		},
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	video := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96, PacketizationMode: 1}}}
	h.stream = &gortsplib.ServerStream{Server: srv, Desc: &description.Session{Medias: []*description.Media{video}}}
	if err := h.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
			h.stream.WritePacketRTP(video, &rtp.Packet{Header: rtp.Header{
				Version: 2, PayloadType: 96, Marker: true, SequenceNumber: uint16(i), Timestamp: uint32(i * 900), SSRC: 5}, Payload: slice})
		}
	}()
	defer func() { close(stop); <-stopped; h.stream.Close() }()

	url := "rtsps://" + addr + "/x"
	m, err := capture(t, Config{URL: url}, func(m *memory) bool { return len(m.units) >= 10 }, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if m.stats.PacketsLost.Load() != 0 || m.units[0].Damaged || string(m.units[0].Payload[4:]) != string(slice) {
		t.Errorf("first unit %+v", m.units[0])
	}
	_, err = capture(t, Config{URL: url, VerifyTLS: true}, nil, 10*time.Second)
	if f := cause(t, err, pb.Cause_REFUSED); !strings.Contains(f.Hint, "driver-tls-verify") {
		t.Errorf("hint %q", f.Hint)
	}
	_, err = capture(t, Config{URL: url, Transport: UDP}, nil, 10*time.Second)
	cause(t, err, pb.Cause_SETTINGS)
}

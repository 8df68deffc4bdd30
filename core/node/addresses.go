package node

import (
	"os"

	"media-server/core/urls"
	"media-server/core/web/door"
)

// services are the ways into the server, as far as URLs and maps of addresses are
// concerned.
func (s *Settings) services() []urls.Service {
	return []urls.Service{
		{Name: "http", Scheme: "http", Enable: s.Web.HTTP.Enable, Port: urls.Port(s.Web.HTTP.Listen)},
		{Name: "https", Scheme: "https", Enable: s.Web.HTTPS.Enable, Port: urls.Port(s.Web.HTTPS.Listen)},
		{Name: "rtsp", Scheme: "rtsp", Enable: s.RTSP.Enable, Port: urls.Port(s.RTSP.Listen)},
		{Name: "rtsps", Scheme: "rtsps", Enable: s.RTSP.Secure.Enable, Port: urls.Port(s.RTSP.Secure.Listen)},
		{Name: "webrtc", Enable: s.WebRTC.Enable, Port: urls.Port(s.WebRTC.Listen)}, // of the media; the offer comes over HTTP
	}
}

// addresses tell clients where streams are. The map is that of the settings now, the
// services are those that the server was started with.
func (n *Node) addresses(d *door.Door) *door.Addresses {
	return &door.Addresses{
		Door: d, Config: func() *urls.Config { return &n.current.Load().Addresses }, Services: n.boot.services,
		Proto: func(uid string) map[string]bool {
			st, _ := playable{n}.Stream(uid)
			return st.Proto
		},
		Name: func() string {
			name, err := os.Hostname()
			if err != nil {
				return "localhost"
			}
			return name
		},
	}
}

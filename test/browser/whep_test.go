package browser

import (
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/browser/cdp"
)

// TestWHEPPage: the page for frames plays over WebRTC on request, and says why
// where it cannot, playing HLS instead.
func TestWHEPPage(t *testing.T) {
	s := harness.New(t, harness.Options{})
	s.Sim("plain", "b-frames=off&audio=opus", "stream-name = Harbour")
	s.Sim("reordered", "audio=none")
	s.Sim("closed", "b-frames=off", "stream-proto = hls")
	s.Start()
	s.Active("plain", "reordered", "closed")
	s.Past(time.Now().UnixMilli()+2000, "plain", "reordered", "closed")
	p := cdp.Start(t).Page(t)
	for _, size := range []struct {
		name string
		w, h int
	}{{"desktop", 1280, 720}, {"phone", 390, 844}} {
		p.Size(size.w, size.h, size.name == "phone")
		p.Go(s.HTTP + "/live/plain/?proto=webrtc")
		plays(p)
		p.Wait("that it is WebRTC", "document.querySelector('video').srcObject && document.querySelector('#fast').ariaPressed == 'true' && document.querySelector('#veil').hidden && document.querySelector('#note').hidden")
		p.Shot("webrtc-" + size.name)
		p.Quiet()
		p.Go(s.HTTP + "/live/reordered/?proto=webrtc")
		p.Wait("why it is not", "document.querySelector('#note').textContent.includes('B-frames') && !document.querySelector('#note').hidden && document.querySelector('#fast').ariaPressed == 'false'")
		plays(p)
		p.Shot("webrtc-refused-" + size.name)
		p.Quiet("415")
	}
	p.Size(1280, 720, false)
	p.Go(s.HTTP + "/live/plain/")
	plays(p)
	p.Wait("HLS", "!document.querySelector('video').srcObject && document.querySelector('#fast').ariaPressed == 'false'")
	p.Shot("webrtc-offered")
	for range 2 {
		p.Click("#fast")
		p.Wait("WebRTC", "document.querySelector('video').srcObject")
		plays(p)
		s.Until("a viewer by WebRTC", func() bool { return s.Stream("plain").Viewers > 0 })
		p.Click("#fast")
		p.Wait("HLS again", "!document.querySelector('video').srcObject")
		plays(p)
	}
	p.Quiet()
	p.Go(s.HTTP + "/live/closed/?proto=webrtc")
	p.Wait("that the stream does not offer it", "document.querySelector('#note').textContent.includes('does not offer webrtc')")
	plays(p)
	p.Quiet("404")
	// A server that goes takes WebRTC along; when it is back, HLS plays.
	p.Go(s.HTTP + "/live/plain/?proto=webrtc")
	plays(p)
	p.Wait("WebRTC once more", "document.querySelector('video').srcObject")
	s.Kill()
	p.Wait("that it is lost", "document.querySelector('#fast').ariaPressed == 'false'")
	s.Start()
	plays(p)
	p.Forget()
}

package cdp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Page is a tab. Its methods fail the test on errors.
type Page struct {
	T       testing.TB
	b       *Browser
	session string

	mu         sync.Mutex
	complaints []string
	told       map[string]bool // what was said and when: see add
	slow       time.Duration
}

// event gathers what a developer would see in red.
func (p *Page) event(method string, raw json.RawMessage) {
	var said string
	var at float64 // ms since 1970
	switch method {
	case "Fetch.requestPaused":
		var e struct{ RequestID string }
		_ = json.Unmarshal(raw, &e)
		p.mu.Lock()
		defer p.mu.Unlock()
		time.AfterFunc(p.slow, func() {
			_ = p.b.call(p.session, "Fetch.continueRequest", map[string]any{"requestId": e.RequestID}, nil)
		})
		return
	case "Runtime.exceptionThrown":
		var e struct {
			Timestamp        float64
			ExceptionDetails struct {
				Text      string
				Exception struct{ Description string }
			}
		}
		_ = json.Unmarshal(raw, &e)
		at, said = e.Timestamp, "exception: "+e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description
	case "Runtime.consoleAPICalled":
		var e struct {
			Timestamp float64
			Type      string
			Args      []struct{ Value, Description any }
		}
		_ = json.Unmarshal(raw, &e)
		if e.Type != "error" && e.Type != "warning" && e.Type != "assert" {
			return
		}
		at, said = e.Timestamp, fmt.Sprint("console ", e.Type, ": ", e.Args)
	case "Log.entryAdded":
		var e struct {
			Entry struct {
				Timestamp                float64
				Source, Level, Text, URL string
			}
		}
		_ = json.Unmarshal(raw, &e)
		if e.Entry.Level != "error" && e.Entry.Level != "warning" {
			return
		}
		at, said = e.Entry.Timestamp, e.Entry.Source+" "+e.Entry.Level+": "+e.Entry.Text+" "+e.Entry.URL
	case "Audits.issueAdded":
		var e struct{ Issue struct{ Code string } }
		_ = json.Unmarshal(raw, &e)
		if !strings.Contains(e.Issue.Code, "ContentSecurityPolicy") {
			return
		}
		said = "issue: " + string(raw)
	default:
		return
	}
	p.add(said, at)
}

// add notes a complaint once. Chromium tells all that it has gathered of a page
// again when it attaches to the frame that replaces the page's, if the old page
// is not gone yet: the same words, with the same time.
func (p *Page) add(said string, at float64) {
	key := fmt.Sprint(said, at)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told[key] || len(p.complaints) == 100 {
		return
	}
	p.told[key] = true
	p.complaints = append(p.complaints, said)
}

// Quiet fails the test if the page has complained since the last call, but for
// complaints that contain one of the words.
func (p *Page) Quiet(but ...string) {
	p.T.Helper()
	for _, c := range p.Forget() {
		if !slices.ContainsFunc(but, func(w string) bool { return strings.Contains(c, w) }) {
			p.T.Errorf("the page complains: %s", c)
		}
	}
}

// Forget drops and returns the complaints.
func (p *Page) Forget() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.complaints
	p.complaints = nil
	return c
}

// Slow makes requests for addresses that match, by * and ?, begin so much later; an
// empty pattern ends it.
func (p *Page) Slow(pattern string, by time.Duration) {
	p.T.Helper()
	p.mu.Lock()
	p.slow = by
	p.mu.Unlock()
	if pattern == "" {
		p.Call("Fetch.disable", map[string]any{}, nil)
		return
	}
	p.Call("Fetch.enable", map[string]any{"patterns": []any{map[string]string{"urlPattern": pattern}}}, nil)
}

// Call asks the page by the DevTools protocol.
func (p *Page) Call(method string, params, result any) {
	p.T.Helper()
	if err := p.b.call(p.session, method, params, result); err != nil {
		p.T.Fatal(err)
	}
}

func (p *Page) eval(expr string, v any) error {
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := p.b.call(p.session, "Runtime.evaluate", map[string]any{"expression": expr, "awaitPromise": true, "returnByValue": true, "userGesture": true, "replMode": true}, &r)
	switch {
	case err != nil:
		return err
	case r.ExceptionDetails != nil:
		return fmt.Errorf("%s: %s %s", expr, r.ExceptionDetails.Text, r.ExceptionDetails.Exception.Description)
	case v == nil || r.Result.Value == nil:
		return nil
	}
	return json.Unmarshal(r.Result.Value, v)
}

// Eval runs an expression and decodes its value into v.
func (p *Page) Eval(expr string, v any) {
	p.T.Helper()
	if err := p.eval(expr, v); err != nil {
		p.T.Fatal(err)
	}
}

// Text is the value of an expression, as a string.
func (p *Page) Text(expr string) string {
	p.T.Helper()
	var s string
	p.Eval("String("+expr+")", &s)
	return s
}

// Wait polls until an expression is true. An expression that fails, as while
// a page is being replaced, is not true yet.
func (p *Page) Wait(what, expr string) {
	p.T.Helper()
	var err error
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var ok bool
		if err = p.eval("!!("+expr+")", &ok); err == nil && ok {
			return
		}
	}
	p.Shot("failed-" + strings.ReplaceAll(p.T.Name(), "/", "-"))
	var body string
	_ = p.eval("document.body.innerText", &body)
	p.T.Fatalf("waited %v in vain for %s (%v)\nthe page reads:\n%s\ncomplaints: %q", Patience, what, err, body, p.Forget())
}

// Go loads an address.
func (p *Page) Go(url string) {
	p.T.Helper()
	var r struct{ ErrorText string }
	p.Call("Page.navigate", map[string]any{"url": url}, &r)
	if r.ErrorText != "" {
		p.T.Fatalf("%s: %s", url, r.ErrorText)
	}
	p.Wait(url, "document.readyState == 'complete' && location.href != 'about:blank'")
}

// Size makes the window so large; phone adds touch and a phone's viewport.
func (p *Page) Size(w, h int, phone bool) {
	p.T.Helper()
	p.Call("Emulation.setDeviceMetricsOverride", map[string]any{"width": w, "height": h, "deviceScaleFactor": 1, "mobile": phone}, nil)
}

// Click presses the mouse at the middle of an element, or so far along it.
func (p *Page) Click(selector string, along ...float64) {
	p.T.Helper()
	at := .5
	if len(along) > 0 {
		at = along[0]
	}
	var b struct{ X, Y, W, H float64 }
	q, _ := json.Marshal(selector)
	p.Wait(selector, fmt.Sprintf("(e => e && (e.scrollIntoView({block:'nearest'}), e.getClientRects().length))(document.querySelector(%s))", q))
	p.Eval(fmt.Sprintf("(b => ({X:b.x,Y:b.y,W:b.width,H:b.height}))(document.querySelector(%s).getBoundingClientRect())", q), &b)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.Call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": b.X + b.W*at, "y": b.Y + b.H/2, "button": "left", "clickCount": 1}, nil)
	}
}

// Type writes into a field, replacing what stands there.
func (p *Page) Type(selector, text string) {
	p.T.Helper()
	q, _ := json.Marshal(selector)
	p.Eval(fmt.Sprintf("(e => {e.focus(); e.select()})(document.querySelector(%s))", q), nil)
	p.Call("Input.insertText", map[string]any{"text": text}, nil)
}

// Key presses a key by its DOM name, such as Enter or ArrowLeft.
func (p *Page) Key(key string) {
	p.T.Helper()
	codes := map[string]int{"Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowRight": 39, "End": 35, "Home": 36}
	text := ""
	if len(key) == 1 {
		text = key
	} else if key == "Enter" {
		text = "\r"
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		e := map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
		if kind == "keyDown" && text != "" {
			e["text"] = text
		}
		p.Call("Input.dispatchKeyEvent", e, nil)
	}
}

// Picture is what can be seen.
func (p *Page) Picture() image.Image {
	p.T.Helper()
	b, err := p.shot()
	if err != nil {
		p.T.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		p.T.Fatal(err)
	}
	return img
}

func (p *Page) shot() ([]byte, error) {
	var r struct{ Data string }
	if err := p.b.call(p.session, "Page.captureScreenshot", map[string]any{"format": "png"}, &r); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(r.Data)
}

// Shot writes a picture of the page into $MEDIA_SERVER_SHOTS, if that is set.
func (p *Page) Shot(name string) {
	dir := os.Getenv("MEDIA_SERVER_SHOTS")
	if dir == "" {
		return
	}
	b, err := p.shot()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), b, 0o644)
	}
	if err != nil {
		p.T.Log(err)
	}
}

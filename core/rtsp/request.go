package rtsp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of a request: what any client says fits in far less.
const (
	maxHead = 16 << 10
	maxBody = 16 << 10
)

// request is one RTSP request (RFC 2326, 6).
type request struct {
	method string
	uri    string
	header map[string][]string // by lower-case name
	body   []byte
}

// errRubbish: the connection does not speak RTSP, and where the next request
// begins is not known.
var errRubbish = errors.New("not a valid RTSP request")

// get is the first value of a header.
func (r *request) get(name string) string {
	if v := r.header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// readRequest reads a request. The error wraps errRubbish, or is that of reading.
func readRequest(br *bufio.Reader) (*request, error) {
	left := maxHead
	line, err := readLine(br, &left)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(string(line))
	if len(words) != 3 || !strings.HasPrefix(words[2], "RTSP/") || !word(words[0]) {
		return nil, fmt.Errorf("%w: the first line is not METHOD URL RTSP/1.0", errRubbish)
	}
	r := &request{method: words[0], uri: words[1], header: map[string][]string{}}
	for {
		if line, err = readLine(br, &left); err != nil {
			return nil, err
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 {
			return nil, fmt.Errorf("%w: a header without a colon", errRubbish)
		}
		key := strings.ToLower(string(bytes.TrimSpace(name)))
		r.header[key] = append(r.header[key], string(bytes.TrimSpace(value)))
	}
	return r, r.readBody(br)
}

func (r *request) readBody(br *bufio.Reader) error {
	text := r.get("content-length")
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxBody {
		return fmt.Errorf("%w: Content-Length %.20q", errRubbish, text)
	}
	r.body = make([]byte, n)
	_, err = io.ReadFull(br, r.body)
	return err
}

// readLine reads up to a line feed, which with a carriage return before it is
// left out; left is how much of the head may still come.
func readLine(br *bufio.Reader, left *int) ([]byte, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return nil, fmt.Errorf("%w: a head of more than %d bytes", errRubbish, maxHead)
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// word tells whether a method looks like one.
func word(s string) bool {
	for _, c := range s {
		if (c < 'A' || c > 'Z') && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// response is the answer to a request.
type response struct {
	status int
	reason string      // of an error, for whoever reads it; empty = the status' own
	logged string      // likewise for the log; nothing that a client has sent
	header [][2]string // in this order, without CSeq, Server and Content-Length
	body   []byte
}

func (r *response) set(name, value string) { r.header = append(r.header, [2]string{name, value}) }

var reasons = map[int]string{
	200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
	451: "Parameter Not Understood", 453: "Not Enough Bandwidth", 454: "Session Not Found", 455: "Method Not Valid in This State",
	457: "Invalid Range", 459: "Aggregate Operation Not Allowed", 461: "Unsupported Transport", 500: "Internal Server Error",
	501: "Not Implemented", 503: "Service Unavailable", 505: "RTSP Version Not Supported", 551: "Option not supported",
}

// append writes the answer to a request with this CSeq. The status line carries
// the standard's words: why it was refused stands in the body.
func (r *response) append(b []byte, cseq string) []byte {
	b = fmt.Appendf(b, "RTSP/1.0 %d %s\r\n", r.status, reasons[r.status])
	if cseq != "" {
		b = fmt.Appendf(b, "CSeq: %s\r\n", cseq)
	}
	b = append(b, "Server: media-server\r\n"...)
	for _, h := range r.header {
		b = fmt.Appendf(b, "%s: %s\r\n", h[0], h[1])
	}
	body := r.body
	if body == nil && r.reason != "" {
		body = []byte(r.reason + "\n")
		b = append(b, "Content-Type: text/plain\r\n"...)
	}
	if len(body) > 0 {
		b = fmt.Appendf(b, "Content-Length: %d\r\n", len(body))
	}
	b = append(b, "\r\n"...)
	return append(b, body...)
}

// refuse is an answer that says why not. The log has it, too, if there are no args:
// these may be of the client, and a URL that is written wrongly may have its token
// anywhere.
func refuse(status int, format string, args ...any) *response {
	r := &response{status: status, reason: fmt.Sprintf(format, args...)}
	if len(args) == 0 {
		r.logged = r.reason
	}
	return r
}

// as says what the log has of a refusal.
func (r *response) as(fixed string) *response {
	r.logged = fixed
	return r
}

// plain keeps what a client has sent out of an answer's lines.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

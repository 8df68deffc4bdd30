package web

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"

	"github.com/valyala/fasthttp"
)

// Error is the one shape every failed request answers with. Code is stable and
// meant for programs, Message and Hint for people; ID is found in the log.
type Error struct {
	Status  int            `json:"-"`
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Hint    string         `json:"hint,omitempty"`
	ID      string         `json:"id"`
	Extra   map[string]any `json:"-"` // further members of the error object
	Counted bool           `json:"-"` // a metric counts it, and who asks again and again must not fill the log
}

func (e *Error) Error() string { return e.Message }

// E makes an error.
func E(status int, code, message, hint string) *Error {
	return &Error{Status: status, Code: code, Message: message, Hint: hint}
}

// With adds a member to the error object.
func (e *Error) With(key string, v any) *Error {
	if e.Extra == nil {
		e.Extra = map[string]any{}
	}
	e.Extra[key] = v
	return e
}

// Fail answers with e as JSON.
func Fail(ctx *fasthttp.RequestCtx, e *Error) {
	body := map[string]any{"code": e.Code, "message": e.Message, "id": RequestID(ctx)}
	if e.Hint != "" {
		body["hint"] = e.Hint
	}
	for k, v := range e.Extra {
		body[k] = v
	}
	b, _ := json.Marshal(map[string]any{"error": body})
	ctx.Response.ResetBody()
	ctx.Response.Header.Del("Content-Range")
	ctx.Response.Header.Del("ETag")
	ctx.SetStatusCode(e.Status)
	ctx.SetContentType("application/json")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetBody(append(b, '\n'))
	if e.Counted {
		ctx.SetUserValue(countedKey, true)
	}
}

// JSON answers 200 with v.
func JSON(ctx *fasthttp.RequestCtx, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		Fail(ctx, E(500, "internal", "the answer could not be written as JSON", ""))
		return
	}
	ctx.SetContentType("application/json")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetBody(append(b, '\n'))
}

const (
	requestIDKey = "request-id"
	countedKey   = "counted"
)

// RequestID is a random name of this request, the same in answer and log.
func RequestID(ctx *fasthttp.RequestCtx) string {
	if id, ok := ctx.UserValue(requestIDKey).(string); ok {
		return id
	}
	var b [8]byte
	rand.Read(b[:])
	id := hex.EncodeToString(b[:])
	ctx.SetUserValue(requestIDKey, id)
	return id
}

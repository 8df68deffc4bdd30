package rtsp

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"media-server/core/media"
	"media-server/core/timeline"
)

// target is what a URL names.
type target struct {
	uid   string
	live  bool
	from  media.Wall // of dvr; 0 = with the first footage
	to    media.Wall // of dvr; 0 = goes on live
	token string
	track int    // trackID=N of a track's URL; 0 = all of them
	asked string // path and times as they stood there, to know the same again
}

// controlWord begins the part of a URL that names a track. Clients put it behind a
// URL by rules of their own: behind the query, or behind the path and before it.
const controlWord = "/trackID="

// parseTarget reads a URL: rtsp://host/live/<uid>, rtsp://host/dvr/<uid>?from=T&to=T
// or &duration=D, each with token=.
func parseTarget(uri string, now time.Time, zone *time.Location) (target, *response) {
	var t target
	uri, t.track = cutTrack(uri)
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "rtsp" && u.Scheme != "rtsps" || u.Opaque != "" {
		return t, refuse(400, "the URL is not valid; write rtsp://host/live/<uid> or rtsp://host/dvr/<uid>?from=T&to=T")
	}
	kind, uid, ok := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if !ok || uid == "" || strings.Contains(uid, "/") || kind != "live" && kind != "dvr" {
		return t, refuse(404, "there is nothing at this path; streams are at rtsp://host/live/<uid> and rtsp://host/dvr/<uid>?from=T&to=T")
	}
	if t.uid, t.live = uid, kind == "live"; !isName(uid) {
		return t, refuse(404, "this cannot be the name of a stream, which has 1 to 36 letters, digits, - and _; the query of a URL begins with ?")
	}
	q, err := url.ParseQuery(strings.TrimRight(u.RawQuery, "/"))
	if err != nil {
		return t, refuse(400, "the query of the URL is not valid")
	}
	t.token = q.Get("token")
	t.asked = kind + "/" + uid
	if t.live {
		return t, nil
	}
	t.asked += "?" + q.Get("from") + "&" + q.Get("to") + "&" + q.Get("duration")
	return t, t.times(q, now, zone)
}

// isName tells whether this can be the name of a stream.
func isName(uid string) bool {
	for i, r := range uid {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (i == 0 || r != '-' && r != '_') {
			return false
		}
	}
	return uid != "" && len(uid) <= 36
}

// times reads from, to and duration.
func (t *target) times(q url.Values, now time.Time, zone *time.Location) *response {
	for _, x := range []struct {
		name string
		into *media.Wall
	}{{"from", &t.from}, {"to", &t.to}} {
		text := q.Get(x.name)
		if text == "" {
			continue
		}
		w, err := timeline.ParseTime(text, now, zone)
		if err != nil || w <= 0 {
			return refuse(400, "%s: %v", x.name, cause(err, "before 1970")).as("from or to is not a time")
		}
		*x.into = w
	}
	if text := q.Get("duration"); text != "" && t.to == 0 {
		d, err := timeline.ParseSpan(text)
		if err != nil || d <= 0 || t.from == 0 {
			return refuse(400, "duration: %v", cause(err, "it needs a from, and is longer than 0")).as("duration is not one")
		}
		t.to = t.from.Add(d)
	}
	switch {
	case t.from > media.WallOf(now):
		return refuse(457, "from lies in the future")
	case t.to != 0 && t.to <= t.from:
		return refuse(400, "to is not behind from")
	}
	return nil
}

func cause(err error, otherwise string) string {
	if err != nil {
		return plain(err.Error())
	}
	return otherwise
}

// cutTrack takes trackID=N out of a URL.
func cutTrack(uri string) (rest string, track int) {
	i := strings.LastIndex(uri, controlWord)
	if i < 0 {
		return uri, 0
	}
	end := i + len(controlWord)
	for end < len(uri) && uri[end] >= '0' && uri[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(uri[i+len(controlWord) : end])
	if err != nil || n < 1 || n > 255 {
		return uri, 0
	}
	return uri[:i] + strings.TrimLeft(uri[end:], "/"), n
}

// controlURL is the URL of a track of what a client has asked for.
func controlURL(uri string, track int) string {
	uri, _ = cutTrack(uri)
	return fmt.Sprintf("%s%s%d", strings.TrimRight(plain(uri), "/"), controlWord, track)
}

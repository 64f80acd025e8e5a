package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// accessLog writes a line for each request that failed, at the default level,
// and for the others at debug: by its request id, which every error carries, a
// request is found that left no audit record, such as one for a path that is not
// there. It warns of failures that nobody has warned of. A call's answer that what it asks
// for is not there is no failure. What strangers can cause at will is bounded.
type accessLog struct {
	log *slog.Logger

	mu    sync.Mutex
	since time.Time
	lines int
}

// maxStrangersLines is how many lines a minute may be about requests that anybody
// can make; a metric counts all.
const maxStrangersLines = 60

// maxLoggedPath bounds what a client can make us write.
const maxLoggedPath = 128

// failure is what is known of an error that a request was answered with.
type failure struct {
	refused bool // by what the caller wants or may, whatever the status
	call    bool // a call was answered so, which has its audit record
	told    bool // who failed has warned of it
}

func (l *accessLog) request(ctx context.Context, r *http.Request, route string, status int, f failure, now time.Time, took time.Duration) {
	level := slog.LevelDebug
	switch {
	case status == http.StatusNotFound && r.Method == http.MethodGet && f.call: // it was asked whether something is there
	case status == http.StatusNotImplemented: // nothing failed: it is not offered
		level = slog.LevelInfo
	case status >= http.StatusInternalServerError && !f.refused && !f.told:
		level = slog.LevelWarn
	case status >= http.StatusBadRequest:
		level = slog.LevelInfo
	}
	if !l.log.Enabled(ctx, level) || strangers(status) && !l.room(now) {
		return
	}
	attrs := []slog.Attr{
		slog.String(metrics.KeyHTTPMethod, methodName(r.Method)), slog.String(metrics.KeyRoute, route),
		slog.Int(metrics.KeyStatus, status), slog.Float64(metrics.KeyDuration, float64(took.Microseconds())/1000),
	}
	if route == unknownRoute {
		path := r.URL.EscapedPath()
		attrs = append(attrs, slog.String(metrics.KeyPath, path[:min(len(path), maxLoggedPath)]))
	}
	l.log.LogAttrs(ctx, level, "request", attrs...)
}

// strangers reports whether somebody without a key can have requests answered so.
func strangers(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusTooManyRequests:
		return true
	default:
		return false
	}
}

// room reports whether another such line may be written within this minute.
func (l *accessLog) room(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= time.Minute {
		l.since, l.lines = now, 0
	}
	l.lines++
	return l.lines <= maxStrangersLines
}

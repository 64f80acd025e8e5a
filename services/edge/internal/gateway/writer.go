package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// writer gives every write to the client its own deadline, so that a stream
// may last while a client that stopped reading does not hold us, and remembers
// the status.
type writer struct {
	http.ResponseWriter
	rc      *http.ResponseController
	clock   clock.Clock
	timeout time.Duration
	status  int
}

func (h *handler) wrap(w http.ResponseWriter) *writer {
	return &writer{ResponseWriter: w, rc: http.NewResponseController(w), clock: h.Clock, timeout: h.cfg.WriteTimeout}
}

// WriteHeader sends the status.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends b, or what fits the buffer of it.
func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.extend()
	return w.ResponseWriter.Write(b) //nolint:gosec // handlers send JSON, events or pages of our own
}

// Flush sends what is in the buffer.
func (w *writer) FlushError() error {
	w.extend()
	return w.rc.Flush()
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// extend gives the next write its time. A writer without deadlines, as tests
// have them, does without.
func (w *writer) extend() { _ = w.rc.SetWriteDeadline(w.clock.Now().Add(w.timeout)) }

// code returns the status that was sent.
func (w *writer) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// panicked answers for a handler that panicked, or cuts the connection when
// the answer has begun: a client must not take it for a whole one.
func (h *handler) panicked(w *writer, r *http.Request, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	h.Telemetry.Logger.ErrorContext(r.Context(), "panic", slog.String("panic", fmt.Sprint(v)),
		slog.String(metrics.KeyStack, string(debug.Stack())))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	writeError(w, r, apierr.From(fmt.Errorf("panic: %v", v)))
}

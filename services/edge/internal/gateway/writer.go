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
	"github.com/poterne/poterne/pkg/pace"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// writer gives every write to the client its own deadline, so that a stream
// may last while a client that stopped reading does not hold us, and remembers
// the status. Before the first one the request's body is settled.
type writer struct {
	http.ResponseWriter
	body    body
	request http.Request // as the handler has it
	rc      http.ResponseController
	clock   clock.Clock
	pace    pace.Pace
	slow    func(side string) // told when the client does not keep it
	status  int
	failure failure
}

// withLimits bounds what the client of a request can hold up: its body, and
// every write to it. ServeHTTP gives the request that body.
func (h *handler) withLimits(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &writer{
			ResponseWriter: rw, rc: *http.NewResponseController(rw),
			clock: h.Clock, pace: *pace.New(int64(h.cfg.MinAnswerRate), h.cfg.WriteTimeout), slow: func(string) {},
		}
		h.limitBody(&w.body, rw, r)
		next.ServeHTTP(w, r)
		w.begin(http.StatusOK)
		w.end()
	})
}

// end bounds what leaves after the handler: of an answer that fell behind nothing else does.
func (w *writer) end() {
	if w.pace.Behind() {
		_ = w.rc.SetWriteDeadline(w.clock.Now().Add(w.pace.Left()))
	}
}

// begin notes the status of an answer that is about to begin.
func (w *writer) begin(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	w.body.settle(w.Header())
}

// WriteHeader sends the status.
func (w *writer) WriteHeader(status int) {
	w.begin(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write sends b, or what fits the buffer of it.
func (w *writer) Write(b []byte) (int, error) {
	w.begin(http.StatusOK)
	for sent := 0; ; {
		part := b[sent:min(len(b), sent+maxPart)]
		n, err := w.timed(func() (int, error) {
			return w.ResponseWriter.Write(part)
		})
		if sent += n; err != nil || sent >= len(b) {
			return sent, err
		}
	}
}

// FlushError sends what is in the buffer.
func (w *writer) FlushError() error {
	w.begin(http.StatusOK)
	_, err := w.timed(func() (int, error) { return 0, w.rc.Flush() })
	return err
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// maxPart is how much is written within one time: slow clients get large answers too.
const maxPart = 64 << 10

// timed writes within the time that the client still has. A writer without
// deadlines, as tests have them, does without.
func (w *writer) timed(write func() (int, error)) (int, error) {
	behind := w.pace.Behind()
	began, left := w.clock.Now(), w.pace.Left()
	_ = w.rc.SetWriteDeadline(began.Add(left))
	n, err := write()
	waited := w.clock.Now().Sub(began)
	w.pace.Moved(n, waited)
	if behind && err == nil {
		_ = w.rc.SetWriteDeadline(time.Time{}) // in HTTP/2 it would end a stream that we are silent on
	}
	if err != nil && waited >= left { // HTTP/2 only says that the stream is closed
		w.slow(sideAnswer)
	}
	return n, err
}

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
	w.failure.told = true
}

package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"

	"github.com/poterne/poterne/pkg/requestid"
)

// The keys of the log records of every service.
const (
	KeyService   = "service"
	KeyVersion   = "version"
	KeyTraceID   = "trace_id"
	KeySpanID    = "span_id"
	KeyRequestID = "request_id"
	KeyComponent = "component"
	KeyError     = "error"
)

// Err returns err as a log attribute.
func Err(err error) slog.Attr { return slog.Any(KeyError, err) }

func newLogger(w io.Writer, service, version string, cfg Config) (*slog.Logger, error) {
	level, err := cfg.level()
	if err != nil {
		return nil, fmt.Errorf("telemetry: log level: %w", err)
	}
	opts := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(w, opts)
	if cfg.LogFormat == "text" {
		h = slog.NewTextHandler(w, opts)
	}
	return slog.New(NewLogHandler(h)).With(
		slog.String(KeyService, service), slog.String(KeyVersion, version)), nil
}

// NewLogHandler returns h with the identifiers that a record's context carries
// added to the record: trace, span and request.
func NewLogHandler(h slog.Handler) slog.Handler { return contextHandler{h} }

type contextHandler struct{ slog.Handler }

// Handle adds the identifiers.
func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String(KeyTraceID, sc.TraceID().String()), slog.String(KeySpanID, sc.SpanID().String()))
	}
	if id := requestid.FromContext(ctx); id != "" {
		r.AddAttrs(slog.String(KeyRequestID, id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapper.
func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapper.
func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}

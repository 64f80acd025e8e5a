package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/sse"
)

// lingerTimeout bounds how long the end of a finished response is waited for,
// so that its connection can be used again.
const lingerTimeout = time.Second

// Stream sends the request and passes on every chunk at once. The chunk that
// holds only the usage is passed on when the caller's body asks for it: the
// worker always asks the engine.
func (c *client) Stream(ctx context.Context, op Operation, body []byte, sink Sink) (*commonv1.TokenUsage, error) {
	ctx, done := c.bounded(ctx)
	defer done()
	p, err := c.prepare(op, body, true)
	if err != nil {
		return nil, err
	}
	// The request must outlive a finished call by the moment it takes to read
	// the end of the response, but not a call that was given up.
	reqCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	resp, err := c.send(reqCtx, c.d.base+op.path(), p.body)
	if err != nil {
		stop()
		cancel(nil)
		return nil, err
	}
	s := &stream{sink: sink, passUsage: p.askedUsage, usage: noUsage()}
	err = s.read(reqCtx, resp)
	stop()
	if err != nil {
		cancel(nil)
		_ = resp.Body.Close()
		return nil, err
	}
	go linger(resp.Body, cancel) //nolint:gosec,contextcheck // it outlives the call by a moment
	return s.usage, nil
}

// linger reads the end of a finished response and lets its connection go.
func linger(body io.ReadCloser, cancel context.CancelCauseFunc) {
	limit, done := context.WithTimeout(context.Background(), lingerTimeout)
	defer done()
	context.AfterFunc(limit, func() { cancel(nil) })
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close()
	cancel(nil)
}

// stream is one streamed answer.
type stream struct {
	sink      Sink
	passUsage bool
	usage     *commonv1.TokenUsage
	begun     bool // a chunk was passed on
}

// read passes on what comes, until [DONE].
func (s *stream) read(ctx context.Context, resp *http.Response) error {
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		return apierr.New(apierr.EngineFailed, "the engine does not stream: it answered with %q", clean(kind))
	}
	if err := s.sink.Accepted(); err != nil {
		return err
	}
	r := sse.NewReader(resp.Body, maxEventBytes)
	for {
		ev, err := r.Next()
		switch {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return brokenStream(errors.New("the stream ended without [DONE]"), s.begun)
		case err != nil:
			return brokenStream(err, s.begun)
		case string(ev.Data) == "[DONE]":
			return nil
		}
		if err := s.event(ev); err != nil {
			return err
		}
	}
}

func (s *stream) event(ev sse.Event) error {
	if ev.Name == "error" {
		return streamError(decodeEngineError(ev.Data), s.begun)
	}
	pass, err := s.inspect(ev.Data)
	if err != nil || !pass {
		return err
	}
	s.begun = true
	return s.sink.Chunk(bytes.Clone(ev.Data))
}

// inspect reads usage and errors out of a chunk, and reports whether it is to
// be passed on. Most chunks hold neither and are not parsed: a name within a
// text has its quotes escaped, so what is looked for can only be missed by an
// engine that writes the name itself with escapes.
func (s *stream) inspect(data []byte) (pass bool, err error) {
	if !bytes.Contains(data, []byte(`"usage"`)) && !bytes.Contains(data, []byte(`"error"`)) {
		return true, nil
	}
	var c struct {
		Choices []json.RawMessage `json:"choices"`
		Usage   json.RawMessage   `json:"usage"`
		Error   json.RawMessage   `json:"error"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return false, brokenStream(err, s.begun)
	}
	if len(c.Error) > 0 && string(c.Error) != "null" {
		return false, streamError(decodeEngineError(data), s.begun)
	}
	if len(c.Usage) == 0 || string(c.Usage) == "null" {
		return true, nil
	}
	s.usage = usageOf(c.Usage)
	return len(c.Choices) > 0 || s.passUsage, nil
}

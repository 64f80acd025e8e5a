package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/jsonwalk"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
	"github.com/poterne/poterne/services/worker/internal/sse"
)

// lingerTimeout bounds how long the end of a finished response is waited for,
// so that its connection can be used again.
const lingerTimeout = time.Second

// Stream sends the request and passes on every chunk at once. The worker always
// asks the engine for its counts; of these the caller gets what their body asks
// for.
func (c *client) Stream(ctx context.Context, op Operation, body []byte, sink Sink) (*commonv1.TokenUsage, error) {
	ctx, done := c.bounded(ctx)
	defer done()
	p, err := c.prepare(op, body, true)
	if err != nil {
		return nil, err
	}
	return c.run(ctx, op, p.body, &stream{sink: sink, asked: p.asked, burst: burst{kept: &c.shapes}, running: c.d.running, meter: meter{limits: p.limits}})
}

// run sends a prepared request and reads the answer into s.
func (c *client) run(ctx context.Context, op Operation, body []byte, s *stream) (*commonv1.TokenUsage, error) {
	// The request must outlive a finished call by the moment it takes to read
	// the end of the response, but not a call that was given up.
	reqCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	resp, err := c.send(reqCtx, c.d.base+op.path(), body)
	if err != nil {
		stop()
		cancel(nil)
		return nil, err
	}
	r := c.readers.Open(resp.Body, maxEventBytes)
	err = s.read(reqCtx, resp, r)
	if s.impossible {
		c.impossible(reqCtx)
	}
	c.readers.Done(r)
	stop()
	if err != nil {
		cancel(nil)
		_ = resp.Body.Close()
		return s.told(), err
	}
	if end, ok := resp.Body.(interface{ Ended() bool }); ok && end.Ended() {
		linger(resp.Body, cancel)
	} else {
		go linger(resp.Body, cancel) // it outlives the call by a moment
	}
	return s.told(), nil
}

// linger reads the end of a finished response and lets its connection go.
func linger(body io.ReadCloser, cancel context.CancelCauseFunc) {
	limit := time.AfterFunc(lingerTimeout, func() { cancel(nil) }) //nolint:forbidigo // as the connection's deadlines
	defer limit.Stop()
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close()
	cancel(nil)
}

// stream is one streamed answer.
type stream struct {
	sink  Sink
	asked asked
	// running is how the engine tells its counts.
	running runningUsage
	meter   meter
	begun   bool // a chunk was passed on
	// impossible says that the engine counted what cannot be.
	impossible bool
	room       room // for what is passed on
	burst      burst
	// join is set for streams that can be continued.
	join *join

	progress Progress
}

// told is the tokens so far, nothing when the engine has told none.
func (s *stream) told() *commonv1.TokenUsage {
	if s.join != nil {
		return s.join.total(&s.meter.usage)
	}
	return &s.meter.usage
}

// read passes on what comes, until [DONE].
func (s *stream) read(ctx context.Context, resp *http.Response, r *sse.Reader) error {
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		return apierr.New(apierr.EngineFailed, "the engine does not stream: it answered with %q", clean(kind))
	}
	if err := s.sink.Accepted(); err != nil {
		return err
	}
	defer s.burst.end()
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
		s.room.arrived = r.Rest()
		if err := s.event(ev); err != nil {
			return err
		}
		if r.Pending() {
			continue
		}
		s.burst.end()
		if err := s.sink.Idle(); err != nil {
			return err
		}
	}
}

func (s *stream) event(ev sse.Event) error {
	if ev.Name == "error" {
		return streamError(decodeEngineError(ev.Data), s.begun)
	}
	data, err := s.look(ev.Data)
	if err != nil || data == nil {
		return err
	}
	s.begun = true
	s.sink.Progress(&s.progress)
	return s.sink.Chunk(data)
}

// look is inspect, in less time for a chunk that is as those before it.
func (s *stream) look(data []byte) ([]byte, error) {
	if out, ok := s.again(data); ok {
		return out, nil
	}
	return s.inspect(data)
}

// inspect reads counts and errors out of a chunk, and returns what of it is to
// be passed on, nil for nothing of it. A name within a text has its quotes
// escaped, so what is looked for can only be missed by an engine that writes the
// name itself with escapes.
func (s *stream) inspect(data []byte) ([]byte, error) {
	c, ok := scan(data)
	if !ok {
		if !telling(data) && s.join == nil {
			return bytes.Clone(data), nil // not ours to judge
		}
		return nil, brokenStream(errors.New("a chunk is not a JSON object"), s.begun)
	}
	if c.has(c.failure) {
		return nil, streamError(decodeEngineError(data), s.begun)
	}
	bare := c.bare()
	var d delta
	parts := 0
	if s.join != nil || !s.meter.told || s.asked.many {
		c.each(func(one delta) {
			d = one
			if !one.empty() {
				parts++
			}
		})
	}
	if s.meter.read(&c, bare, d, parts) && s.join == nil {
		s.progress.Usage = &s.meter.usage
	}
	s.impossible = s.impossible || s.meter.odd
	if s.join != nil {
		return s.join.pass(s, &c, bare, d)
	}
	if bare && c.has(c.usage) && !s.asked.usage {
		return nil, nil //nolint:nilnil // nothing is to be passed on
	}
	out, err := s.passed(&c, bare)
	if s.meter.told && !s.meter.odd && !bare && !s.asked.many && c.has(c.usage) && !s.wantsUsage(bare) {
		s.burst.learn(&c, out)
	}
	return out, err
}

// passed is a chunk as the caller gets it: every byte as it came but for what only the
// worker asked for, and for counts that cannot be.
func (s *stream) passed(c *chunk, bare bool) ([]byte, error) {
	if s.meter.odd {
		return s.corrected(c, bare)
	}
	var drop [2]jsonwalk.Span
	return c.without(&s.room, s.unasked(drop[:0], c, bare)...), nil
}

// corrected is a chunk with the counts that are used in place of the engine's.
func (s *stream) corrected(c *chunk, bare bool) ([]byte, error) {
	var set []jsonbody.Member
	if c.has(c.usage) && s.wantsUsage(bare) {
		set = append(set, jsonbody.Member{Name: memberUsage, Value: appendUsage(nil, s.told())})
	}
	out, err := jsonbody.Set(c.data, jsonbody.Named(memberUsage, memberTimings), set...)
	if err != nil {
		return nil, brokenStream(err, s.begun)
	}
	return out, nil
}

// telling reports whether a chunk holds what the worker looks for.
func telling(data []byte) bool {
	return bytes.Contains(data, []byte(`"usage"`)) || bytes.Contains(data, []byte(`"error"`))
}

// wantsUsage reports whether the caller asked for the usage in a chunk of this
// kind.
func (s *stream) wantsUsage(bare bool) bool {
	return s.asked.usage && (bare || s.running != tellsUsage || s.asked.running)
}

// unasked adds to out the members that the worker asked for and the caller did not, two at
// most.
func (s *stream) unasked(out []jsonwalk.Span, c *chunk, bare bool) []jsonwalk.Span {
	if c.usage.Found() && !bare && !s.wantsUsage(bare) {
		out = append(out, c.usage)
	}
	// With the usage llama-server tells its timings unasked.
	if s.running == tellsTimings && c.timings.Found() && !s.asked.running && !c.has(c.usage) {
		out = append(out, c.timings)
	}
	return out
}

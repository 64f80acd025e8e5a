package searchmeter

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

// NewStream implements grpc.ClientConnInterface.
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := c.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	if err != nil || method != searchv1.SearchService_ImportDocuments_FullMethodName {
		return stream, err
	}
	s := &importing{ClientStream: stream, conn: c, ctx: ctx}
	context.AfterFunc(ctx, func() { s.finish(context.Cause(ctx)) }) // whoever sends and reads may just leave
	return s, nil
}

// importing is an import, each of whose messages reserves for itself until its lines are
// settled. One that is refused is not sent: what was sent before is settled, and the
// import then ends with the refusal. SendMsg and RecvMsg are each called by one goroutine
// at a time, and side by side.
type importing struct {
	grpc.ClientStream
	conn *conn
	ctx  context.Context //nolint:containedctx // the stream's own

	mu         sync.Mutex
	collection string
	line       int64 // the last that was sent
	open       []batch
	works      []*searchv1.ModelWork // told, and not yet settled
	refused    error
	finished   bool
}

// batch is one message's lines up to the last.
type batch struct {
	last int64
	hold metering.Hold
}

// SendMsg implements grpc.ClientStream.
func (s *importing) SendMsg(m any) error {
	req, ok := m.(*searchv1.ImportDocumentsRequest)
	if !ok {
		return s.ClientStream.SendMsg(m)
	}
	if err := s.reserve(req); err != nil {
		s.mu.Lock()
		s.refused = err
		s.mu.Unlock()
		_ = s.CloseSend() // never fails, says grpc
		return io.EOF     // RecvMsg says why
	}
	return s.ClientStream.SendMsg(m)
}

// reserve holds what embedding a message's documents may take.
func (s *importing) reserve(req *searchv1.ImportDocumentsRequest) error {
	if req.GetCollection() != "" {
		s.collection, s.line = req.GetCollection(), max(req.GetFirstLine(), 1)-1
	}
	size := 0
	for _, l := range req.GetLines() {
		s.line++
		if l.GetNumber() > 0 {
			s.line = l.GetNumber()
		}
		size += documentSize(l.GetDocument())
	}
	if size == 0 {
		return nil
	}
	known, err := s.conn.o.Collections.of(s.ctx, s.collection)
	if err != nil {
		return err
	}
	hold, err := s.conn.o.Meters.Begin(s.ctx, s.conn.embedding(known, size), nowhere)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		hold.End(s.ctx, errNoWork)
		return nil
	}
	s.open = append(s.open, batch{last: s.line, hold: hold})
	return nil
}

// RecvMsg implements grpc.ClientStream.
func (s *importing) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			s.left(worksOf(s.Trailer()))
		}
		s.finish(err)
		s.mu.Lock()
		defer s.mu.Unlock()
		if errors.Is(err, io.EOF) && s.refused != nil {
			return s.refused
		}
		return err
	}
	if resp, ok := m.(*searchv1.ImportDocumentsResponse); ok {
		s.settle(resp)
	}
	return nil
}

// settle ends the holds whose lines are settled. What was told by then is on account of
// the first of them; the others' is that one's, too, or there was none.
func (s *importing) settle(resp *searchv1.ImportDocumentsResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.works = append(s.works, resp.GetModelWork()...)
	if s.refused != nil && resp.GetProgress() != nil {
		resp.Progress.Done = false // not everything that came was sent
	}
	n := 0
	for n < len(s.open) && s.open[n].last <= resp.GetProgress().GetSettledLines() {
		n++
	}
	s.end(n, nil)
}

// left notes what an import that fails tells of at its end.
func (s *importing) left(works []*searchv1.ModelWork) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.works = append(s.works, works...)
}

// finish ends all holds.
func (s *importing) finish(err error) {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	s.end(len(s.open), err)
}

// end ends the first n holds; the caller has the lock.
func (s *importing) end(n int, err error) {
	if n == 0 {
		return
	}
	for _, b := range s.open[1:n] { // before the first takes more than it reserved
		b.hold.End(s.ctx, errNoWork)
	}
	first := bill{kinds: []metering.Kind{metering.Embed}, holds: []metering.Hold{s.open[0].hold}}
	first.end(s.ctx, s.works, err)
	s.open, s.works = s.open[n:], nil
}

// nowhere is where meters' headers go: a stream's are sent by then.
func nowhere(metadata.MD) error { return nil }

package searchmeter

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

// wire is an import's stream: it gives answers, and then an error.
type wire struct {
	grpc.ClientStream
	sent    int
	closed  bool
	answers []*searchv1.ImportDocumentsResponse
	end     error
	trailer metadata.MD
}

func (w *wire) Trailer() metadata.MD { return w.trailer }

func (w *wire) SendMsg(any) error { w.sent++; return nil }

func (w *wire) CloseSend() error { w.closed = true; return nil }

func (w *wire) RecvMsg(m any) error {
	if len(w.answers) == 0 {
		return w.end
	}
	into, _ := m.(proto.Message)
	proto.Merge(into, w.answers[0])
	w.answers = w.answers[1:]
	return nil
}

func settled(line int64, works ...*searchv1.ModelWork) *searchv1.ImportDocumentsResponse {
	return &searchv1.ImportDocumentsResponse{Progress: &searchv1.ImportProgress{SettledLines: line, Done: true}, ModelWork: works}
}

func importOf(t *testing.T, ctx context.Context, n *notes, w *wire) grpc.ClientStream { //nolint:revive // the test's own
	t.Helper()
	s, err := retrieving(n, &backend{stream: w}).NewStream(ctx, new(grpc.StreamDesc), searchv1.SearchService_ImportDocuments_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(&searchv1.ImportDocumentsRequest{Collection: "c", FirstLine: 11}); err != nil {
		t.Fatal(err)
	}
	return s
}

func linesOf(texts ...string) *searchv1.ImportDocumentsRequest {
	req := new(searchv1.ImportDocumentsRequest)
	for _, text := range texts {
		req.Lines = append(req.Lines, &searchv1.ImportLine{Document: &searchv1.Document{Text: text}})
	}
	return req
}

// Each message holds what it may take until its lines are settled.
func TestAnImportSettlesAsItGoes(t *testing.T) {
	n := new(notes)
	w := &wire{end: io.EOF, answers: []*searchv1.ImportDocumentsResponse{
		settled(11, work("embed", "e5", 1, 2, 0)), settled(13, work("embed", "e5", 1, 5, 0)), settled(14),
	}}
	s := importOf(t, t.Context(), n, w)
	for _, req := range []*searchv1.ImportDocumentsRequest{linesOf("aa", "bb"), linesOf("c"), linesOf("dddd")} {
		if err := s.SendMsg(req); err != nil {
			t.Fatal(err)
		}
	}
	n.want(t, "embed e5 4 bytes 0 documents retrieval/embed", "embed e5 1 bytes 0 documents retrieval/embed", "embed e5 4 bytes 0 documents retrieval/embed")
	recv := func() (*searchv1.ImportDocumentsResponse, error) {
		resp := new(searchv1.ImportDocumentsResponse)
		return resp, s.RecvMsg(resp)
	}
	_, _ = recv()
	n.want(t) // line 12 is not settled
	_, _ = recv()
	n.want(t, "embed ends: false", "embed ends: e5@v1 7 tokens 0 documents true")
	_, _ = recv()
	n.want(t, "embed ends: false")
	if _, err := recv(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	n.want(t)
}

// What was sent before a refusal is settled, and the import ends with the refusal.
func TestAnImportEndsWithARefusal(t *testing.T) {
	n := &notes{refuse: metering.Embed, left: 1}
	w := &wire{end: io.EOF, answers: []*searchv1.ImportDocumentsResponse{settled(11, work("embed", "e5", 1, 2, 0))}}
	s := importOf(t, t.Context(), n, w)
	if err := s.SendMsg(linesOf("aa")); err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(linesOf("bb")); !errors.Is(err, io.EOF) || w.sent != 2 || !w.closed {
		t.Errorf("%v, %d messages were sent, closed %t", err, w.sent, w.closed)
	}
	resp := new(searchv1.ImportDocumentsResponse)
	if err := s.RecvMsg(resp); err != nil || resp.GetProgress().GetDone() || resp.GetProgress().GetSettledLines() != 11 {
		t.Errorf("%v, %v", resp, err)
	}
	if err := s.RecvMsg(resp); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
	n.want(t, "embed e5 2 bytes 0 documents retrieval/embed", "embed ends: e5@v1 2 tokens 0 documents true")
}

// What was told before a stream breaks is settled, and what is open when its caller
// leaves is given back.
func TestAnImportThatBreaksOff(t *testing.T) {
	n := new(notes)
	s := importOf(t, t.Context(), n, &wire{
		end: errors.New("reset"), answers: []*searchv1.ImportDocumentsResponse{settled(10, work("embed", "e5", 1, 2, 0))},
		trailer: trailing(t, work("embed", "e5", 1, 5, 0)),
	})
	_ = s.SendMsg(linesOf("aa", "b"))
	_ = s.RecvMsg(new(searchv1.ImportDocumentsResponse))
	if err := s.RecvMsg(new(searchv1.ImportDocumentsResponse)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	n.want(t, "embed e5 3 bytes 0 documents retrieval/embed", "embed ends: e5@v1 7 tokens 0 documents false")

	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		n := new(notes)
		s := importOf(t, ctx, n, &wire{end: io.EOF})
		_ = s.SendMsg(linesOf("aa"))
		leave()
		synctest.Wait()
		n.want(t, "embed e5 2 bytes 0 documents retrieval/embed", "embed ends: false")
		_ = s.SendMsg(linesOf("b"))
		n.want(t, "embed e5 1 bytes 0 documents retrieval/embed", "embed ends: false")
	})
}

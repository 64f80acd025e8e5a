package search_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

type importClient = grpc.BidiStreamingClient[searchv1.ImportDocumentsRequest, searchv1.ImportDocumentsResponse]

// startImport begins an import and takes its first answer.
func (h *harness) startImport(ctx context.Context, req *searchv1.ImportDocumentsRequest) importClient {
	h.t.Helper()
	call, err := h.client.ImportDocuments(ctx)
	if err == nil {
		err = call.Send(req)
	}
	if err == nil {
		_, err = call.Recv()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return call
}

func lines(docs ...*searchv1.Document) *searchv1.ImportDocumentsRequest {
	req := new(searchv1.ImportDocumentsRequest)
	for _, d := range docs {
		req.Lines = append(req.Lines, &searchv1.ImportLine{Document: d})
	}
	return req
}

// rest reads to the end: what became of each line, and how far it went.
func rest(call importClient) (verdicts []*searchv1.ImportVerdict, p *searchv1.ImportProgress, _ error) {
	for {
		resp, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return verdicts, p, nil
		}
		if err != nil {
			return verdicts, p, err
		}
		verdicts, p = append(verdicts, resp.GetVerdicts()...), resp.GetProgress()
	}
}

func told(verdicts []*searchv1.ImportVerdict) string {
	var out []string
	for _, v := range verdicts {
		s := fmt.Sprintf("%d:%s:%s", v.GetLine(), v.GetId(), v.GetStatus())
		if e := v.GetError(); e != nil {
			s += "(" + e.GetCode() + " " + e.GetField() + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestImportTellsOfEachLine(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c", doc("same", "as before"), doc("hidden", "x"))
	h.put(h.as("eve"), "c", withACL(doc("hidden", "y"), "user:eve"))
	call := h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "c", FirstLine: 11})
	go func() {
		for _, req := range []*searchv1.ImportDocumentsRequest{
			lines(doc("a", "one"), doc("same", "as before"), doc("a/b", "slash"), doc("hidden", "mine")),
			{Lines: []*searchv1.ImportLine{{Number: 20, Error: &searchv1.ImportError{Code: "PAYLOAD_TOO_LARGE", Message: "long"}}, {Number: 22}}},
			lines(doc("a", "two"), doc("b", "earlier"), doc("b", "later")),
		} {
			_ = call.Send(req)
		}
		_ = call.CloseSend()
	}()
	got, p, err := rest(call)
	if err != nil {
		t.Fatal(err)
	}
	want := "11:a:created 12:same:unchanged 13:a/b:failed(INVALID_ARGUMENT id) 14:hidden:failed(PERMISSION_DENIED id)" +
		" 20::failed(PAYLOAD_TOO_LARGE ) 22::failed(INVALID_ARGUMENT document) 23:a:updated 24:b:created 25:b:updated"
	if told(got) != want {
		t.Errorf("got  %s\nwant %s", told(got), want)
	}
	if p.GetSettledLines() != 25 || !p.GetDone() || p.GetCreated() != 2 || p.GetUpdated() != 2 || p.GetUnchanged() != 1 || p.GetFailed() != 4 {
		t.Errorf("%v", p)
	}
	// It ended with what it wrote to be found, the later line of an id.
	if got := chunkIDs(h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "two later earlier", Mode: "lexical"})); got != "a#0 b#0" && got != "b#0 a#0" {
		t.Errorf("found %q", got)
	}
}

func TestImportFillsBatchesAcrossDocuments(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	call := h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "c"})
	const n = 200
	go func() { // who sends must read, too
		for i := range n {
			_ = call.Send(lines(doc(fmt.Sprint("d", i), fmt.Sprint("text number ", i))))
		}
		_ = call.CloseSend()
	}()
	got, p, err := rest(call)
	if err != nil || len(got) != n || p.GetCreated() != n {
		t.Fatalf("%d verdicts, %v, %v", len(got), p, err)
	}
	h.inference.mu.Lock()
	calls := len(h.inference.models)
	h.inference.mu.Unlock()
	if calls > n/8 {
		t.Errorf("%d passages took %d calls of the model", n, calls)
	}
}

// While the model is away nothing is read on, and nothing is given up.
func TestImportOutlivesAShortOutage(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Import.BatchDocuments, c.Import.Window = 2, 1 })
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.inference.set(func(f *fakeInference) { f.away = true })
	call := h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "c"})
	third := make(chan struct{})
	go func() {
		for i := range 50 {
			if i == 3 {
				close(third)
			}
			_ = call.Send(lines(doc(fmt.Sprint("d", i), "text")))
		}
		_ = call.CloseSend()
	}()
	<-third
	h.inference.set(func(f *fakeInference) { f.away = false })
	got, p, err := rest(call)
	if err != nil || len(got) != 50 || p.GetCreated() != 50 {
		t.Fatalf("%d verdicts, %v, %v", len(got), p, err)
	}
}

func TestImportEndsWithALongOutage(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Import.Patience = 0 })
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c", doc("kept", "x"))
	h.inference.set(func(f *fakeInference) { f.away = true })
	call := h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "c"})
	if err := call.Send(lines(doc("kept", "x"), doc("bad/id", "x"), doc("new", "y"), doc("kept2/", "x"))); err != nil {
		t.Fatal(err)
	}
	got, p, err := rest(call)
	h.wantReason(err, apierr.Unavailable, "")
	if told(got) != "1:kept:unchanged 2:bad/id:failed(INVALID_ARGUMENT id)" || p.GetSettledLines() != 2 || p.GetDone() {
		t.Errorf("%s, %v", told(got), p)
	}
	// It goes on after what was settled.
	h.inference.set(func(f *fakeInference) { f.away = false })
	call = h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "c", FirstLine: p.GetSettledLines() + 1})
	_ = call.Send(lines(doc("new", "y")))
	_ = call.CloseSend()
	if got, _, err := rest(call); err != nil || told(got) != "3:new:created" {
		t.Errorf("%s, %v", told(got), err)
	}
}

// A sender that leaves stops the work; what was settled stays.
func TestImportStopsWithItsSender(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Import.BatchDocuments = 1 })
	ctx, cancel := context.WithCancel(h.as("ada"))
	h.create(ctx, "c")
	call := h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "c", Refresh: "none"})
	if err := call.Send(lines(doc("first", "x"))); err != nil {
		t.Fatal(err)
	}
	if resp, err := call.Recv(); err != nil || told(resp.GetVerdicts()) != "1:first:created" {
		t.Fatalf("%v, %v", resp, err)
	}
	cancel()
	if _, err := call.Recv(); err == nil {
		t.Error("it went on")
	}
	if _, err := h.client.GetDocument(h.as("ada"), &searchv1.GetDocumentRequest{Collection: "c", Document: "first"}); err != nil {
		t.Error(err)
	}
}

func TestImportRefuses(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Import.TenantStreams = 1 })
	ctx := h.as("ada")
	h.create(ctx, "c")
	for name, tc := range map[string]struct {
		first, then *searchv1.ImportDocumentsRequest
		reason      apierr.Reason
	}{
		"nothing":          {nil, nil, apierr.InvalidArgument},
		"no collection":    {&searchv1.ImportDocumentsRequest{}, nil, apierr.InvalidArgument},
		"unknown":          {&searchv1.ImportDocumentsRequest{Collection: "other"}, nil, apierr.NotFound},
		"lines at once":    {&searchv1.ImportDocumentsRequest{Collection: "c", Lines: []*searchv1.ImportLine{{}}}, nil, apierr.InvalidArgument},
		"another later":    {&searchv1.ImportDocumentsRequest{Collection: "c"}, &searchv1.ImportDocumentsRequest{Collection: "d"}, apierr.InvalidArgument},
		"lines go back":    {&searchv1.ImportDocumentsRequest{Collection: "c", FirstLine: 5}, &searchv1.ImportDocumentsRequest{Lines: []*searchv1.ImportLine{{Number: 4}}}, apierr.InvalidArgument},
		"a bad first line": {&searchv1.ImportDocumentsRequest{Collection: "c", FirstLine: -1}, nil, apierr.InvalidArgument},
	} {
		call, err := h.client.ImportDocuments(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, req := range []*searchv1.ImportDocumentsRequest{tc.first, tc.then} {
			if req != nil {
				_ = call.Send(req)
			}
		}
		_ = call.CloseSend()
		_, _, err = rest(call)
		if apierr.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	first := h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "c"})
	second, err := h.client.ImportDocuments(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Send(&searchv1.ImportDocumentsRequest{Collection: "c"})
	_, err = second.Recv()
	h.wantReason(err, apierr.Overloaded, "")
	// Another tenant is not held up by it, nor shown anything of it.
	other := h.of("other", "bob")
	h.create(other, "c")
	third := h.startImport(other, &searchv1.ImportDocumentsRequest{Collection: "c"})
	for _, call := range []importClient{first, third} {
		_ = call.CloseSend()
		if _, p, err := rest(call); err != nil || !p.GetDone() {
			t.Errorf("%v, %v", p, err)
		}
	}
}

// Another embedding generation may begin to serve while documents come in: the
// end waits for that one.
func TestAnImportOutlivesASwitch(t *testing.T) {
	h := newHarness(t, quickly, func(c *search.Config) { c.Embedding.KeepRetired = 0 })
	ctx := h.as("ada")
	h.create(ctx, "c")
	call := h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "c"})
	_ = call.Send(lines(doc("a", "before the switch")))
	if _, err := call.Recv(); err != nil {
		t.Fatal(err)
	}
	h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{})
	h.until(2, "serving")
	h.gone(1)
	_ = call.Send(lines(doc("b", "after the switch")))
	_ = call.CloseSend()
	if _, p, err := rest(call); err != nil || !p.GetDone() || p.GetCreated() != 2 {
		t.Fatalf("%v, %v", p, err)
	}
	if got := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "switch", Mode: "lexical"}); len(got.GetHits()) != 2 {
		t.Errorf("found %s", chunkIDs(got))
	}
}

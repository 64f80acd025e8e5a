package edge_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge"
)

const retrieving = `{"model":"small","messages":[{"role":"user","content":"How many days?"}],"retrieval":{"collection":"handbook"`

// answering has the engine say texts, whole or in pieces.
func (g *gate) answering(pieces ...string) {
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		return &inferencev1.InvokeResponse{ServedBy: servedBy(), Usage: usage(), Body: []byte(
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"` + strings.Join(pieces, "") + `"},"finish_reason":"stop"}]}`)}, nil
	}
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		err := sendServedBy(out)
		for _, p := range pieces {
			err = errors.Join(err, sendChunk(out, `{"choices":[{"index":0,"delta":{"content":"`+p+`"},"finish_reason":null}]}`))
		}
		return errors.Join(err, sendChunk(out, lastChunk), sendFinish(out))
	}
}

func TestCitationsAreHeldAgainstThePassages(t *testing.T) {
	for name, c := range map[string]struct{ action, text string }{
		"kept": {"keep", "It is 25 [1], or 30 [7]."}, "marked": {"mark", "It is 25 [1], or 30 [7?]."}, "removed": {"remove", "It is 25 [1], or 30."},
	} {
		t.Run(name, func(t *testing.T) {
			g := open(t, func(cfg *edge.Config) { cfg.Context.UnknownCitations = c.action })
			g.search.hits = []*searchv1.Hit{{DocumentId: "d1", ChunkId: "d1#0", Text: "25 days."}, {DocumentId: "d2", ChunkId: "d2#0", Text: "Cats."}}
			g.answering("It is 25", " [1], or 30 ", "[", "7", "].")
			a := g.do("POST", chatPath, retrieving+`}}`)
			message := a.at("choices", 0, "message")
			if at(message, "content") != c.text || at(message, "annotations", 0, "cited") != true || at(message, "annotations", 1, "cited") != false ||
				at(message, "annotations", 2, "type") != "unknown_citation" || at(message, "annotations", 2, "number") != 7.0 {
				t.Errorf("the answer is %s", a.text)
			}
			got := events(t, g.do("POST", chatPath, retrieving+`},"stream":true}`))
			var said strings.Builder
			var last any
			for _, e := range got[:len(got)-1] {
				delta := at(decoded(t, e), "choices", 0, "delta")
				if s, ok := at(delta, "content").(string); ok {
					said.WriteString(s)
				}
				if v := at(delta, "annotations"); v != nil {
					last = v
				}
			}
			if said.String() != c.text || at(last, 0, "document_id") != "d1" || at(last, 0, "cited") != true || at(last, 1, "number") != 7.0 {
				t.Errorf("the stream said %q, and last %v", said.String(), last)
			}
		})
	}
}

// A question for which there are no passages costs no model, and says nothing that
// nobody wrote.
func TestNotFoundAsksNoModel(t *testing.T) {
	for name, set := range map[string]func(*edge.Config){
		"without a cache": func(*edge.Config) {}, "with one": func(cfg *edge.Config) { cfg.Security.Cache.Enabled = true },
	} {
		t.Run(name, func(t *testing.T) {
			g := open(t, func(cfg *edge.Config) { cfg.Context.NotFoundAnswer = "Nothing there."; set(cfg) })
			for range 2 {
				a := g.do("POST", chatPath, retrieving+`,"require_passages":true},"n":2}`)
				if a.status != 200 || a.at("choices", 1, "message", "content") != "Nothing there." || a.at("choices", 0, "finish_reason") != "stop" ||
					a.at("usage", "total_tokens") != 0.0 || a.header.Get("X-Poterne-Retrieval") != "not-found" {
					t.Fatalf("got %d %v %s", a.status, a.header, a.text)
				}
				got := events(t, g.do("POST", chatPath, retrieving+`,"require_passages":true},"stream":true,"stream_options":{"include_usage":true}}`))
				if len(got) != 4 || !strings.Contains(got[0], `"content":"Nothing there."`) || !strings.Contains(got[2], `"total_tokens":0`) {
					t.Fatalf("the stream is\n%s", strings.Join(got, "\n"))
				}
			}
			if g.inference.calls() != 0 {
				t.Errorf("the model was asked %d times", g.inference.calls())
			}
		})
	}
}

// The variable of a prompt of the registry gets the passages.
func TestPassagesInAPrompt(t *testing.T) {
	g := open(t, nil)
	g.search.hits = []*searchv1.Hit{{DocumentId: "d1", ChunkId: "d1#0", Text: "25 days."}}
	a := g.do("POST", chatPath, retrieving+`,"variable":"sources"},"prompt":{"id":"answer","variables":{"tone":"kind"}}}`)
	if a.status != 200 {
		t.Fatalf("got %d %s", a.status, a.text)
	}
	asked := g.inference.invoked[0]
	if v := asked.GetPrompt().GetVariables(); !strings.Contains(v["sources"], "25 days.") || v["tone"] != "kind" || strings.Contains(string(asked.GetBody()), "25 days.") {
		t.Errorf("the prompt's variables are %v, and the body %s", v, asked.GetBody())
	}
}

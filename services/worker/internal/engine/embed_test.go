package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

func TestLeastTokens(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, " \n ": 0, "a b\tc": 3, " a ": 1,
		strings.Repeat("x", 80):                 10,
		strings.Repeat("字", 80):                 30,
		"a" + strings.Repeat(" ", 1000) + "b":   2,
		strings.Repeat("internationally ", 100): 187,
	} {
		if got := (Input{Text: text}).LeastTokens(); got != want {
			t.Errorf("%.20q: %d, want %d", text, got, want)
		}
	}
	in := Input{Tokens: []int32{1, 2, 3}}
	if in.LeastTokens() != 3 || in.Bytes() != 12 {
		t.Errorf("tokens: %d in %d bytes", in.LeastTokens(), in.Bytes())
	}
}

// countInputs answers embeddings and notes how many inputs each request had.
func countInputs(got *[]int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Input []string `json:"input"`
		}
		_ = json.NewDecoder(r.Body).Decode(&req)
		*got = append(*got, len(req.Input))
		data := make([]string, len(req.Input))
		for i := range data {
			data[i] = fmt.Sprintf(`{"index":%d,"embedding":[1]}`, i)
		}
		fmt.Fprintf(w, `{"data":[%s],"usage":{"prompt_tokens":1}}`, strings.Join(data, ","))
	}
}

func TestEmbedInParts(t *testing.T) {
	var got []int
	port := serve(t, countInputs(&got))
	c := newClient(dialect{base: localURL(port), embed: embedDialect{batch: 3, batchTokens: 10}})
	defer c.Close()
	words := func(n int) Input { return Input{Text: strings.Repeat("w ", n)} }
	inputs := []Input{words(4), words(6), words(1), words(50), words(1), words(1), words(1), words(1)}
	out, err := c.Embed(t.Context(), EmbedRequest{Inputs: inputs})
	if err != nil || len(out.Vectors) != len(inputs) || !slices.Equal(got, []int{2, 1, 1, 3, 1}) {
		t.Errorf("parts %v, %d vectors, %v", got, len(out.Vectors), err)
	}

	// A caller that leaves between two parts ends the work.
	got = nil
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	turns := 0
	_, err = c.Embed(ctx, EmbedRequest{Inputs: inputs, Turn: func(context.Context) (func(), error) {
		turns++
		return func() { cancel(gone) }, nil
	}})
	if !errors.Is(err, gone) || !slices.Equal(got, []int{2}) || turns != 2 {
		t.Errorf("after the caller left: parts %v, %d turns, %v", got, turns, err)
	}
}

func TestEmbedLimits(t *testing.T) {
	c := newClient(dialect{base: "http://127.0.0.1:1", embed: embedDialect{
		batch: 3, batchTokens: 10, calls: 2, dimensions: 4, prefixes: map[string]string{"query": "query: "},
	}})
	defer c.Close()
	got, err := c.EmbedLimits(EmbedRequest{Inputs: []Input{{Text: "x"}}, InputType: "query", Dimensions: 4})
	if want := (EmbedLimits{Inputs: 3, Tokens: 10, Calls: 2, Prefix: "query: "}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := c.EmbedLimits(EmbedRequest{Inputs: []Input{{Text: "x"}, {Tokens: []int32{1}}}}); apierr.From(err).Field != "input[1]" {
		t.Errorf("tokens: %v", err)
	}
}

func TestSimComputesAsManyCallsAsTold(t *testing.T) {
	s := NewSimulated(thisProgram(t), 1)
	for value, want := range map[string]int{"": 1, "3": 3} {
		spec := chatSpec(KindSim, 0)
		if value != "" {
			spec.Parameters = map[string]string{"embedding-calls": value}
		}
		plan, err := s.Plan(t.Context(), Model{Name: "m@v1", Spec: spec})
		if err != nil {
			t.Fatal(err)
		}
		c, ok := plan.Connect(1).(*client)
		if !ok || c.d.embed.calls != want || slices.Contains(plan.Command.Args(1), "--embedding-calls="+value) != (value != "") {
			t.Errorf("%q: %v, args %v", value, c.d.embed.calls, plan.Command.Args(1))
		}
	}
}

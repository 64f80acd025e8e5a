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

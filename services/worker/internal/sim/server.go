package sim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/poterne/poterne/pkg/clock"
)

// maxBody is the largest request body taken, in bytes.
const maxBody = 32 << 20

// Server is the engine's HTTP handler. It is safe for concurrent use.
type Server struct {
	cfg    Config
	name   string
	quoted []byte // name as JSON
	clock  clock.Clock
	log    *slog.Logger
	exit   func(code int)

	words   words
	sched   *scheduler
	reading *scheduler          // of prompts; nil without a limit
	lanes   *semaphore.Weighted // of embedding
	prefix  *prefixCache
	faults  *faultBox
	history history
	counts  counters
	nextID  atomic.Int64
	readyAt time.Time
	created int64
	mux     *http.ServeMux
}

// crashCode is the exit code of a crash on purpose.
const crashCode = 70

// New returns an engine. exit is called for a crash on purpose and must not
// return normally in a real process; log is told about nothing but that.
func New(cfg Config, c clock.Clock, log *slog.Logger, exit func(code int)) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	name := cfg.ServedName()
	quoted, err := json.Marshal(name)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, name: name, quoted: quoted, clock: c, log: log, exit: exit, words: newWords(),
		sched: newScheduler(cfg.Slots, cfg.KVTokens, cfg.MaxWaiting), prefix: newPrefixCache(cfg.KVTokens),
		lanes: semaphore.NewWeighted(int64(cfg.EmbeddingCalls)), faults: newFaultBox(cfg.Faults, cfg.Seed), readyAt: c.Now().Add(cfg.StartDelay), created: c.Now().Unix(),
		mux: http.NewServeMux(),
	}
	if cfg.PrefillParallel > 0 {
		s.reading = newScheduler(cfg.PrefillParallel, math.MaxInt, cfg.Slots)
	}
	s.mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) { s.serveGenerate(w, r, true) })
	s.mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) { s.serveGenerate(w, r, false) })
	s.mux.HandleFunc("POST /v1/embeddings", s.serveEmbeddings)
	s.mux.HandleFunc("POST /v1/rerank", s.serveRerank)
	s.mux.HandleFunc("POST /tokenize", s.serveTokenize)
	s.mux.HandleFunc("GET /v1/models", s.serveModels)
	s.mux.HandleFunc("GET /health", s.serveHealth)
	s.mux.HandleFunc("GET /metrics", s.serveMetrics)
	s.mux.HandleFunc("GET /load", s.serveLoad)
	s.mux.HandleFunc("GET /sim/state", s.serveState)
	s.mux.HandleFunc("GET /sim/requests", s.serveRequests)
	s.mux.HandleFunc("/sim/faults", s.serveFaults)
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["Server"] = []string{"poterne-sim"}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	if s.faults.get().Hang {
		hang(r.Context())
		return
	}
	if s.loading() {
		s.writeError(w, http.StatusServiceUnavailable, "ServiceUnavailableError", "the model is loading")
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (s *Server) loading() bool {
	return s.cfg.StartDelay > 0 && s.clock.Now().Before(s.readyAt)
}

func (s *Server) serveModels(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []map[string]any{{
		"id": s.name, "object": "model", "created": s.created, "owned_by": "poterne-sim",
		"root": s.name, "max_model_len": s.cfg.ContextTokens,
	}}})
}

func (s *Server) serveLoad(w http.ResponseWriter, _ *http.Request) {
	running, waiting, _ := s.sched.usage()
	writeJSON(w, http.StatusOK, map[string]int{"server_load": running + waiting})
}

// serveGenerate answers chats and completions, unary and streamed.
func (s *Server) serveGenerate(w http.ResponseWriter, r *http.Request, chat bool) {
	body, ok := s.begin(w, r)
	if !ok {
		return
	}
	j, err := s.parse(body, chat)
	if err != nil {
		s.refuse(w, err)
		return
	}
	j.requestID = r.Header.Get("X-Request-Id")
	if r.Header.Get("X-Sim-Echo") != "" {
		j.received = body
	}
	f := s.faults.next()
	f.hang, f.crash = f.hang || j.control.Hang, f.crash || j.control.Crash
	if j.control.Status >= http.StatusBadRequest {
		f.status = j.control.Status
	}
	if j.control.DisconnectAfter > 0 {
		f.disconnectAfter = j.control.DisconnectAfter
	}
	if s.fail(w, r, f) {
		return
	}
	need := j.promptTokens + j.maxTokens
	if err := s.sched.acquire(r.Context(), need); err != nil {
		s.refuse(w, err)
		return
	}
	defer s.sched.release(need)
	s.generate(r.Context(), w, j, f)
}

// begin reads the body, or answers why not.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	s.counts.requests.Add(1)
	if s.loading() {
		s.writeError(w, http.StatusServiceUnavailable, "ServiceUnavailableError", "the model is loading")
		return nil, false
	}
	body, err := readBody(w, r)
	if err != nil {
		s.refuse(w, err)
		return nil, false
	}
	return body, true
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if n := r.ContentLength; n > 0 && n <= maxBody {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
}

// fail does what f says, and reports whether the request ends with it.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, f fault) bool {
	switch {
	case f.crash:
		s.log.WarnContext(r.Context(), "crashing, as asked")
		s.exit(crashCode)
		return true
	case f.hang:
		hang(r.Context())
		s.counts.aborted.Add(1)
		return true
	case f.status != 0:
		s.writeError(w, f.status, "InternalServerError", "a simulated failure")
		return true
	}
	return false
}

// refuse answers with what vLLM would for err.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	var tooLarge *http.MaxBytesError
	var model modelError
	switch {
	case errors.Is(err, context.Canceled):
		s.counts.aborted.Add(1)
	case errors.Is(err, errQueueFull):
		s.writeError(w, http.StatusServiceUnavailable, "ServiceUnavailableError", err.Error())
	case errors.As(err, &tooLarge):
		s.writeError(w, http.StatusRequestEntityTooLarge, "BadRequestError", "the body is too large")
	case errors.As(err, &model):
		s.writeError(w, http.StatusNotFound, "NotFoundError", err.Error())
	default:
		s.badRequest(w, err.Error())
	}
}

func (s *Server) badRequest(w http.ResponseWriter, text string) {
	s.writeError(w, http.StatusBadRequest, "BadRequestError", text)
}

func (s *Server) writeError(w http.ResponseWriter, status int, kind, text string) {
	s.counts.errors.Add(1)
	writeJSON(w, status, map[string]any{"error": map[string]any{
		"message": text, "type": kind, "param": nil, "code": status,
	}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "the answer cannot be encoded", http.StatusInternalServerError)
		return
	}
	writeBody(w, status, body)
}

func writeBody(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

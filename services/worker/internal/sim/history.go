package sim

import (
	"net/http"
	"sync"
)

// The outcomes of a Request.
const (
	outcomeAnswered = "answered"
	outcomeAborted  = "aborted"
)

// Request is what became of one request that got a slot, for tests.
type Request struct {
	// ID is what its client called it in X-Request-Id.
	ID string `json:"request_id"`
	// PromptTokens and GeneratedTokens are what it took, whether or not its client
	// stayed to see them.
	PromptTokens    int `json:"prompt_tokens"`
	GeneratedTokens int `json:"generated_tokens"`
	// ToldTokens is those generated that its client was told of: with parts of the
	// answer that were written to the connection, or with all of it.
	ToldTokens int `json:"told_tokens"`
	// Beginning is the tokens of the answer that the client brought.
	Beginning int `json:"beginning_tokens"`
	// Outcome is answered, or aborted when the client left or was cut off.
	Outcome string `json:"outcome"`
}

// kept is how many requests are remembered: enough for a test to add all of them up.
const kept = 1 << 17

// history is the last requests that ended.
type history struct {
	mu   sync.Mutex
	list []Request
	next int
}

func (h *history) add(a *answer, outcome string) {
	r := Request{
		ID: a.requestID, PromptTokens: a.promptTokens, GeneratedTokens: a.generated, ToldTokens: a.told, Beginning: a.beginning, Outcome: outcome,
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.list) < kept {
		h.list = append(h.list, r)
		return
	}
	h.list[h.next] = r
	h.next = (h.next + 1) % kept
}

// serveRequests answers the last requests that ended, in the order of their end.
func (s *Server) serveRequests(w http.ResponseWriter, _ *http.Request) {
	h := &s.history
	h.mu.Lock()
	list := append(append(make([]Request, 0, len(h.list)), h.list[h.next:]...), h.list[:h.next]...)
	h.mu.Unlock()
	writeJSON(w, http.StatusOK, list)
}

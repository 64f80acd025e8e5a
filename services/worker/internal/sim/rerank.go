package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const maxRerankDocuments = 2048

type rerankRequest struct {
	Model     string   `json:"model"`
	Query     string   `json:"query"`
	Documents []string `json:"documents"`
	TopN      int      `json:"top_n"`
	Sim       control  `json:"sim"`
}

// scored is a document with its score.
type scored struct {
	index int
	score float64
}

// serveRerank scores documents as vLLM's POST /v1/rerank does
// (vllm/entrypoints/pooling/score/protocol.py), best first.
func (s *Server) serveRerank(w http.ResponseWriter, r *http.Request) {
	body, ok := s.begin(w, r)
	if !ok {
		return
	}
	var req rerankRequest
	if err := json.Unmarshal(body, &req); err != nil {
		s.badRequest(w, "the body cannot be read: "+err.Error())
		return
	}
	tokens, err := req.tokens(s.cfg.ContextTokens)
	if err == nil {
		err = s.checkModel(req.Model)
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	if s.fail(w, r, s.faults.next()) {
		return
	}
	if err := s.sched.acquire(r.Context(), tokens); err != nil {
		s.refuse(w, err)
		return
	}
	defer s.sched.release(tokens)
	if s.compute(r.Context(), tokens) != nil {
		s.counts.aborted.Add(1)
		return
	}
	s.writeRanking(w, &req, tokens, body)
	s.counts.promptTokens.Add(int64(tokens))
	s.counts.succeeded.Add(1)
}

func (r *rerankRequest) tokens(context int) (int, error) {
	if r.Query == "" {
		return 0, errors.New("query: must not be empty")
	}
	if len(r.Documents) == 0 || len(r.Documents) > maxRerankDocuments {
		return 0, fmt.Errorf("documents: must hold 1 to %d texts, got %d", maxRerankDocuments, len(r.Documents))
	}
	total := 0
	for _, d := range r.Documents {
		n := max(TokensOf(r.Query)+TokensOf(d), 1)
		if n > context {
			return 0, contextError{context, n, 0}
		}
		total += n
	}
	return total, nil
}

// relevance is what this engine scores by: the share of the query's distinct
// words that the document has, from 0 to 1.
func relevance(query, document string) float64 {
	has := make(map[string]bool)
	for word := range strings.FieldsFuncSeq(strings.ToLower(document), notWord) {
		has[word] = true
	}
	asked := make(map[string]bool)
	found := 0
	for word := range strings.FieldsFuncSeq(strings.ToLower(query), notWord) {
		if asked[word] {
			continue
		}
		asked[word] = true
		if has[word] {
			found++
		}
	}
	return float64(found) / float64(max(len(asked), 1))
}

func (s *Server) writeRanking(w http.ResponseWriter, req *rerankRequest, tokens int, body []byte) {
	ranked := make([]scored, len(req.Documents))
	for i, d := range req.Documents {
		ranked[i] = scored{i, relevance(req.Query, d)}
	}
	slices.SortStableFunc(ranked, func(a, b scored) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		default:
			return 0
		}
	})
	if req.TopN > 0 {
		ranked = ranked[:min(req.TopN, len(ranked))]
	}
	b := append(make([]byte, 0, 1024), `{"id":"score-sim","model":`...)
	b = append(append(b, s.quoted...), `,"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(tokens), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, int64(tokens), 10)
	b = append(b, `},"results":[`...)
	for i, r := range ranked {
		if i > 0 {
			b = append(b, ',')
		}
		text, err := json.Marshal(req.Documents[r.index])
		if err != nil { // a string always has a JSON form
			text = []byte(`""`)
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(r.index), 10)
		b = append(append(append(b, `,"document":{"text":`...), text...), `},"relevance_score":`...)
		b = strconv.AppendFloat(b, r.score, 'g', -1, 64)
		b = append(b, '}')
	}
	b = append(b, ']')
	if req.Sim.Echo {
		b = append(append(b, `,"sim_received":`...), body...)
	}
	writeBody(w, http.StatusOK, append(b, '}'))
}

package sim

import (
	"encoding/json"
	"errors"
	"net/http"
)

// serveTokenize counts a prompt or a chat as vLLM's POST /tokenize does, with
// ids that are made up but the same for the same text.
func (s *Server) serveTokenize(w http.ResponseWriter, r *http.Request) {
	body, ok := s.begin(w, r)
	if !ok {
		return
	}
	var req request
	if err := json.Unmarshal(body, &req); err != nil {
		s.badRequest(w, "the body cannot be read: "+err.Error())
		return
	}
	j := job{chat: req.Messages != nil}
	err := s.checkModel(req.Model)
	if err == nil {
		err = j.setPrompt(&req)
	}
	if err == nil && j.promptTokens > maxBody {
		err = errors.New("prompt: too long")
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	state := hash(fnvOffset, j.prompt)
	ids := make([]uint64, j.promptTokens)
	for i := range ids {
		ids[i] = splitmix(&state) % vocabularySize
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"count": len(ids), "max_model_len": s.cfg.ContextTokens, "tokens": ids, "token_strs": nil,
	})
}

// vocabularySize is that of a common tokeniser.
const vocabularySize = 32000

package sim

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const maxInputs = 2048

type embeddingRequest struct {
	Model          string          `json:"model"`
	Input          json.RawMessage `json:"input"`
	Dimensions     *int            `json:"dimensions"`
	EncodingFormat string          `json:"encoding_format"`
	Sim            control         `json:"sim"`
}

func (s *Server) serveEmbeddings(w http.ResponseWriter, r *http.Request) {
	body, ok := s.begin(w, r)
	if !ok {
		return
	}
	var req embeddingRequest
	if err := json.Unmarshal(body, &req); err != nil {
		s.badRequest(w, "the body cannot be read: "+err.Error())
		return
	}
	inputs, tokens, err := req.inputs(s.cfg.ContextTokens)
	if err == nil {
		err = s.checkModel(req.Model)
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	dimensions := s.cfg.Dimensions
	if req.Dimensions != nil {
		dimensions = *req.Dimensions
	}
	if dimensions < 1 || dimensions > maxDimensions {
		s.badRequest(w, fmt.Sprintf("dimensions must be in [1, %d], got %d", maxDimensions, dimensions))
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
	s.writeEmbeddings(w, &req, inputs, tokens, dimensions, body)
	s.counts.promptTokens.Add(int64(tokens))
	s.counts.succeeded.Add(1)
}

// compute passes the time that a call to embed takes. One whose client leaves
// lets the next one begin.
func (s *Server) compute(ctx context.Context, tokens int) error {
	if err := s.lanes.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.lanes.Release(1)
	d := s.cfg.EmbeddingCall
	if s.cfg.EmbeddingRate > 0 {
		d += time.Duration(float64(tokens) / s.cfg.EmbeddingRate * float64(time.Second))
	}
	return s.sleep(ctx, d)
}

func (s *Server) writeEmbeddings(w http.ResponseWriter, req *embeddingRequest, inputs []string, tokens, dimensions int, body []byte) {
	b := append(make([]byte, 0, 1024), `{"object":"list","model":`...)
	b = append(append(b, s.quoted...), `,"data":[`...)
	for i, text := range inputs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"object":"embedding","index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"embedding":`...)
		b = appendVector(b, embed(text, dimensions, s.cfg.Seed), req.EncodingFormat == "base64")
		b = append(b, '}')
	}
	b = append(b, `],"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(tokens), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, int64(tokens), 10)
	b = append(b, '}')
	if req.Sim.Echo {
		b = append(append(b, `,"sim_received":`...), body...)
	}
	writeBody(w, http.StatusOK, append(b, '}'))
}

func appendVector(b []byte, v []float32, packed bool) []byte {
	if packed {
		raw := make([]byte, 4*len(v))
		for i, x := range v {
			binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(x))
		}
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, raw)
		return append(b, '"')
	}
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', -1, 32)
	}
	return append(b, ']')
}

// inputs reads a text, a list of texts, token ids, or a list of lists of them;
// ids become a text of their own, so that equal ids give equal vectors.
func (r *embeddingRequest) inputs(context int) ([]string, int, error) {
	list, err := texts(r.Input, "input")
	tokens := 0
	if err != nil {
		ids, idErr := tokenLists(r.Input)
		if idErr != nil {
			return nil, 0, errors.New("input: must be a text, a list of texts, or token ids")
		}
		for _, one := range ids {
			list = append(list, strings.Trim(fmt.Sprint(one), "[]"))
			tokens += len(one)
		}
	} else {
		for _, text := range list {
			n := max(TokensOf(text), 1)
			if n > context {
				return nil, 0, contextError{context, n, 0}
			}
			tokens += n
		}
	}
	if len(list) == 0 || len(list) > maxInputs {
		return nil, 0, fmt.Errorf("input: must hold 1 to %d texts, got %d", maxInputs, len(list))
	}
	return list, tokens, nil
}

func tokenLists(raw json.RawMessage) ([][]int, error) {
	var one []int
	if json.Unmarshal(raw, &one) == nil {
		return [][]int{one}, nil
	}
	var many [][]int
	err := json.Unmarshal(raw, &many)
	return many, err
}

package engine

import (
	"encoding/json"
	"math"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// The names by which a request bounds the tokens of its answer: OpenAI's newer
// and older one, and llama-server's own, which llama-server obeys over the
// others.
const (
	limitCompletion = "max_completion_tokens"
	limitTokens     = "max_tokens"
	limitPredict    = "n_predict"
)

func limitNames() [3]string { return [...]string{limitCompletion, limitTokens, limitPredict} }

// limitOf decides how long an answer may be: the smallest bound that the
// request gives, under whatever names, so that what was counted against a
// caller's limits under one name cannot be exceeded by another. It returns
// that bound, math.MaxFloat64 where there is none,
// whether the bounds of the request are to be replaced, and what by; nil
// replaces them by nothing. A single bound that the engine knows stays as it
// is.
func (d dialect) limitOf(op Operation, body *jsonbody.Object) (least float64, replace bool, with []jsonbody.Member, err error) {
	least = math.MaxFloat64
	given := 0
	for _, name := range limitNames() {
		n, ok, err := readLimit(name, body.Value(name))
		if err != nil {
			return 0, false, nil, err
		}
		if ok {
			least, given = min(least, n), given+1
		}
	}
	predicts := body.Value(limitPredict) != nil
	newer := isGiven(body.Value(limitCompletion)) && op == Chat && !d.oldLimit
	switch {
	case given == 0:
		return least, predicts, nil, nil
	case given == 1 && (newer || isGiven(body.Value(limitTokens))) && !predicts:
		return least, false, nil, nil
	}
	name := limitTokens
	if newer {
		name = limitCompletion
	}
	value, err := json.Marshal(int64(least))
	if err != nil {
		return 0, false, nil, apierr.Wrap(apierr.Internal, err, "the bound cannot be written")
	}
	return least, true, []jsonbody.Member{{Name: name, Value: value}}, nil
}

func isGiven(value []byte) bool { return len(value) > 0 && string(value) != "null" }

// readLimit reads one bound; ok is false when it bounds nothing: null, or
// llama-server's -1 and -2 under its own name.
func readLimit(name string, value []byte) (limit float64, ok bool, err error) {
	if !isGiven(value) {
		return 0, false, nil
	}
	if whole, ok := digits(value); ok {
		return float64(whole), true, nil
	}
	n, numeric := float(value)
	if !numeric || n != math.Trunc(n) || n > math.MaxInt32 {
		return 0, false, apierr.Invalid(name, "%s must be a whole number", name)
	}
	if name == limitPredict && (n == -1 || n == -2) {
		return 0, false, nil
	}
	if n < 0 {
		return 0, false, apierr.Invalid(name, "%s must be 0 or more", name)
	}
	return n, true, nil
}

func float(value []byte) (n float64, ok bool) {
	err := json.Unmarshal(value, &n)
	return n, err == nil
}

package cli

import (
	"github.com/spf13/pflag"
)

// arrangement is what is done with what a search has found.
type arrangement struct {
	rerank      string
	rerankTop   int
	diversity   float64
	deduplicate bool
}

func (r *arrangement) bind(f *pflag.FlagSet) {
	f.StringVar(&r.rerank, "rerank", "", "the model that puts the best hits in a new order; empty for none")
	f.IntVar(&r.rerankTop, "rerank-top", 0, "how many of the best hits --rerank is given, at most 200; 0 for the service's 50")
	f.Float64Var(&r.diversity, "diversity", 0, "how much hits are to differ from better ones, 0 to 1")
}

// into adds to the body of a search what was given.
func (r *arrangement) into(body map[string]any) error {
	switch {
	case !(r.diversity >= 0 && r.diversity <= 1): // also what is no number
		return usagef("--diversity must be 0 to 1, got %v", r.diversity)
	case r.rerankTop < 0 || r.rerankTop > 200:
		return usagef("--rerank-top must be 0 to 200, got %d", r.rerankTop)
	case r.rerankTop > 0 && r.rerank == "":
		return usagef("--rerank-top is for --rerank")
	}
	if r.rerank != "" {
		body["rerank"] = map[string]any{"model": r.rerank, "top_n": r.rerankTop}
	}
	if r.diversity > 0 {
		body["diversity"] = r.diversity
	}
	if r.deduplicate {
		body["deduplicate"] = true
	}
	return nil
}

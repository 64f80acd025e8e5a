package cli

import (
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// legs are the flags that say how a hybrid search puts its legs together.
type legs struct{ fusion, weights string }

func (l *legs) bind(f *pflag.FlagSet, otherwise string) {
	f.StringVar(&l.fusion, "fusion", "", "how hybrid searches put their legs together: standardised, reciprocal_rank or min_max; empty for "+otherwise)
	f.StringVar(&l.weights, "weights", "", "what the legs count, LEXICAL:VECTOR, 0 to 1000 each, for example 1:2; empty for "+otherwise)
}

// into adds what was said to a request's body.
func (l *legs) into(body map[string]any) error {
	if l.fusion != "" {
		body["fusion"] = l.fusion
	}
	if l.weights == "" {
		return nil
	}
	lexical, vector, _ := strings.Cut(l.weights, ":")
	weights := map[string]any{}
	for leg, text := range map[string]string{"lexical": lexical, "vector": vector} {
		w, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(w) || math.IsInf(w, 0) {
			return usagef("--weights must be LEXICAL:VECTOR, for example 1:2, got %q", l.weights)
		}
		weights[leg] = w
	}
	body["weights"] = weights
	return nil
}

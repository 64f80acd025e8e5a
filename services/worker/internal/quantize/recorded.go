package quantize

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// Recorded answers an order that Check has seen from what was made and measured
// before, if all of it was. Of the source only its hash need be known, and nobody
// need have called Begin: it waits for nothing that is being made.
func (m *Maker) Recorded(ctx context.Context, o Order) (Result, bool) {
	if sum, err := hex.DecodeString(o.Source.SHA256); err != nil || len(sum) != sha256.Size {
		return Result{}, false
	}
	j := &job{Maker: m, Order: o, text: textHash(o.Text)}
	result := Result{TextSHA256: j.text, Window: o.Window}
	r, ok := j.answered(ctx, &result)
	if !ok || r.SourceSize == 0 || r.SourceQuantized && !o.AllowRequantize {
		return Result{}, false
	}
	result.SourceSize = r.SourceSize
	return result, true
}

// textHash is the SHA-256 of a text; empty for none.
func textHash(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// answered fills in the result if all of it was made and measured before, and
// returns what is noted of it.
func (j *job) answered(ctx context.Context, result *Result) (made, bool) {
	r, ok := j.find(ctx, j.Order)
	if !ok {
		return made{}, false
	}
	if j.text != "" {
		source, here := j.measured(j.Source.SHA256)
		own, there := j.measured(r.SHA256)
		if !here || !there {
			return made{}, false
		}
		result.Source, result.Perplexity = source, own
	}
	j.fillMade(result, r)
	return r, true
}

func (j *job) fillMade(result *Result, r made) {
	result.Path, result.SHA256, result.Size, result.Quantizer = j.path(dirMade, keyOf(j.Order), r.File), r.SHA256, r.Size, r.Quantizer
}

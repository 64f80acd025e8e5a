package query

import (
	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/store"
)

// fuse puts the legs of the answer's mode together, its way.
func fuse(legs index.Legs, a Answer, w store.Weights) (results []fusion.Result, names []string, refs map[string]store.Ref) {
	refs = make(map[string]store.Ref, len(legs.Lexical)+len(legs.Vector))
	leg := func(name string, weight float64, hits []index.Hit) fusion.Leg {
		names = append(names, name)
		l := fusion.Leg{Name: name, Weight: weight, Hits: make([]fusion.Scored, len(hits))}
		for i, h := range hits {
			l.Hits[i] = fusion.Scored{ID: h.ChunkID, Score: h.Score}
			refs[h.ChunkID] = store.Ref{No: h.No, Number: h.Chunk}
		}
		return l
	}
	lexical := func() fusion.Leg { return leg(string(Lexical), w.Lexical, legs.Lexical) }
	vector := func() fusion.Leg { return leg(string(Vector), w.Vector, legs.Vector) }
	switch a.Mode {
	case Lexical:
		return fusion.Single(lexical()), names, refs
	case Vector:
		return fusion.Single(vector()), names, refs
	case Hybrid:
		fallthrough
	default:
		both := []fusion.Leg{lexical(), vector()}
		return fusion.Fuse(a.Fusion, both), names, refs
	}
}

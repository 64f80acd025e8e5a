package ranking

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"

	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/store"
)

// ErrToken says that a token is not one of the search that it came with.
var ErrToken = errors.New("ranking: not a token of this search")

const (
	version   = 1
	sumBytes  = 16
	maxName   = 256  // bytes of a name
	maxLegs   = 8    // of a search
	maxFolded = 2000 // into all hits together: the candidates of two legs
)

// Encode returns the token of r for the search that binding stands for: its
// tenant, its collection and all that it asks. The token keeps nothing secret and
// is not signed; what it is checked for is that it came whole and to the right
// search.
func Encode(binding []byte, r Ranking) string {
	w := writer{}
	w.text(r.Mode)
	w.text(r.Fusion)
	w.count(len(r.Legs))
	for i, leg := range r.Legs {
		w.text(leg)
		w.float(r.Weights[i])
	}
	w.int(r.Generation)
	w.text(r.RerankedBy)
	w.flag(r.More)
	w.count(len(r.Seen))
	for _, s := range r.Seen {
		w.ref(s.Ref)
		w.b = binary.LittleEndian.AppendUint64(w.b, s.ID)
	}
	w.count(len(r.Rest))
	for _, c := range r.Rest {
		w.candidate(c)
	}
	sum := checksum(binding, w.b)
	return base64.RawURLEncoding.EncodeToString(append(append([]byte{version}, sum...), w.b...))
}

// Decode reads a token that Encode made for the same binding; any other is
// ErrToken.
func Decode(binding []byte, token string) (Ranking, error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < 1+sumBytes || raw[0] != version {
		return Ranking{}, ErrToken
	}
	sum, body := raw[1:1+sumBytes], raw[1+sumBytes:]
	if subtle.ConstantTimeCompare(sum, checksum(binding, body)) != 1 {
		return Ranking{}, ErrToken
	}
	// Whoever knows how can make a sum, so nothing below is taken on trust.
	d := reader{b: body}
	r := Ranking{Mode: d.text(), Fusion: d.text()}
	for range d.count(maxLegs) {
		r.Legs = append(r.Legs, d.text())
		r.Weights = append(r.Weights, d.float())
	}
	r.Generation, r.RerankedBy, r.More = d.int(), d.text(), d.flag()
	for range d.count(Window) {
		r.Seen = append(r.Seen, Shown{d.ref(), d.number()})
	}
	for range d.count(Window) {
		r.Rest = append(r.Rest, d.candidate(r.Weights))
	}
	if d.bad || len(d.b) > 0 {
		return Ranking{}, ErrToken
	}
	return r, nil
}

func checksum(binding, body []byte) []byte {
	h := sha256.New()
	_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(binding))))
	_, _ = h.Write(binding)
	_, _ = h.Write(body)
	return h.Sum(nil)[:sumBytes]
}

// writer puts values one after another; reader takes them in the same order.
type writer struct{ b []byte }

func (w *writer) int(n int64)     { w.b = binary.AppendVarint(w.b, n) }
func (w *writer) count(n int)     { w.b = binary.AppendUvarint(w.b, uint64(max(n, 0))) }
func (w *writer) float(x float64) { w.b = binary.LittleEndian.AppendUint64(w.b, math.Float64bits(x)) }

func (w *writer) text(s string) {
	w.count(len(s))
	w.b = append(w.b, s...)
}

func (w *writer) flag(b bool) {
	if b {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) ref(r store.Ref) {
	w.int(r.No)
	w.count(r.Number)
}

func (w *writer) refs(list []store.Ref) {
	w.count(len(list))
	for _, r := range list {
		w.ref(r)
	}
}

func (w *writer) candidate(c Candidate) {
	w.ref(c.Ref)
	w.float(c.Score)
	w.count(len(c.Parts))
	for _, p := range c.Parts {
		w.count(p.Rank)
		w.float(p.Score)
		w.float(p.Normalized)
	}
	w.refs(c.Folded)
	w.flag(c.Reranked != nil)
	if r := c.Reranked; r != nil {
		w.count(r.Before)
		w.count(r.Rank)
		w.float(r.Score)
	}
	w.flag(c.Diversified != nil)
	if v := c.Diversified; v != nil {
		w.count(v.Before)
		w.float(v.Relevance)
		w.float(v.Similarity)
		w.float(v.Score)
	}
}

type reader struct {
	b      []byte
	folded int // near-duplicates that were read
	bad    bool
}

func (d *reader) took(n int) {
	if n <= 0 {
		d.bad, d.b = true, nil
		return
	}
	d.b = d.b[n:]
}

func (d *reader) int() int64 {
	v, n := binary.Varint(d.b)
	d.took(n)
	return v
}

// count reads a number that is at most most.
func (d *reader) count(most int) int {
	v, n := binary.Uvarint(d.b)
	d.took(n)
	if d.bad || v > uint64(most) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(v)
}

func (d *reader) bytes(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

// text reads a name, which an answer must be able to carry.
func (d *reader) text() string {
	b := d.bytes(d.count(maxName))
	if !utf8.Valid(b) {
		d.bad, d.b = true, nil
		return ""
	}
	return string(b)
}

func (d *reader) flag() bool {
	b := d.bytes(1)
	if len(b) == 1 && b[0] > 1 {
		d.bad = true
	}
	return len(b) == 1 && b[0] == 1
}

func (d *reader) float() float64 {
	b := d.bytes(8)
	if d.bad {
		return 0
	}
	x := math.Float64frombits(binary.LittleEndian.Uint64(b))
	if math.IsNaN(x) || math.IsInf(x, 0) {
		d.bad, d.b = true, nil
		return 0
	}
	return x
}

func (d *reader) number() uint64 {
	b := d.bytes(8)
	if d.bad {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

func (d *reader) ref() store.Ref {
	return store.Ref{No: d.int(), Number: d.count(math.MaxInt32)}
}

func (d *reader) refs(most int) (out []store.Ref) {
	for range d.count(most) {
		out = append(out, d.ref())
	}
	return out
}

func (d *reader) candidate(weights []float64) Candidate {
	c := Candidate{Ref: d.ref(), Result: fusion.Result{Score: d.float()}}
	if n := d.count(maxLegs); n != 0 {
		if n != len(weights) {
			d.bad, d.b = true, nil
			return c
		}
		for i := range n {
			c.Parts = append(c.Parts, fusion.Part{
				Rank: d.count(math.MaxInt32), Score: d.float(), Normalized: d.float(), Weight: weights[i],
			})
		}
	}
	c.Folded = d.refs(maxFolded - d.folded)
	d.folded += len(c.Folded)
	if d.flag() {
		c.Reranked = &Reranked{Before: d.count(math.MaxInt32), Rank: d.count(math.MaxInt32), Score: d.float()}
	}
	if d.flag() {
		c.Diversified = &Diversified{
			Before: d.count(math.MaxInt32), Relevance: d.float(), Similarity: d.float(), Score: d.float(),
		}
	}
	return c
}

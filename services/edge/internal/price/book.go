package price

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Price is what a target costs from a time on.
type Price struct {
	Target Target
	Rates  Rates
	// Currency is an ISO 4217 code.
	Currency string
	// ValidFrom is since when, to the microsecond.
	ValidFrom time.Time
	// Removed says that the target has no price of its own from then on.
	Removed bool
	// CreateTime and Creator say who set it, and when.
	CreateTime time.Time
	Creator    string
	// Revision numbers the change; set by the store. Usage refers to it.
	Revision int64
}

// Served is what worked on a request.
type Served struct {
	Model                          string
	Version                        int32
	Digest, Variant, VariantDigest string
}

// Book is the prices of one currency, at one state of the store. It is not changed.
type Book struct {
	currency string
	series   map[string][]Price  // by target's key; the last to be valid first
	named    map[string][]string // keys, by the model's name
	digests  []string            // keys of prices by digest
}

// NewBook returns a book of the prices in the given currency.
func NewBook(currency string, prices []Price) *Book {
	b := &Book{currency: currency, series: make(map[string][]Price), named: make(map[string][]string)}
	for _, p := range prices {
		if p.Currency != currency {
			continue
		}
		key := p.Target.Key()
		if _, known := b.series[key]; !known {
			if p.Target.Digest != "" {
				b.digests = append(b.digests, key)
			} else {
				b.named[p.Target.Model] = append(b.named[p.Target.Model], key)
			}
		}
		b.series[key] = append(b.series[key], p)
	}
	for _, s := range b.series {
		slices.SortFunc(s, func(x, y Price) int {
			return cmp.Or(y.ValidFrom.Compare(x.ValidFrom), cmp.Compare(y.Revision, x.Revision))
		})
	}
	return b
}

// Currency returns the book's currency.
func (b *Book) Currency() string { return b.currency }

// Empty reports whether nothing has a price.
func (b *Book) Empty() bool { return len(b.series) == 0 }

// at returns the price of a target that is valid at a time.
func (b *Book) at(key string, t time.Time) (Price, bool) {
	for _, p := range b.series[key] {
		if !p.ValidFrom.After(t) {
			return p, !p.Removed
		}
	}
	return Price{}, false
}

// Has reports whether exactly this target has a price at a time.
func (b *Book) Has(t Target, at time.Time) bool {
	_, ok := b.at(t.Key(), at)
	return ok
}

// Find returns the price of what worked on a request at a time: the first that there
// is by the variant's digest, the version's digest, the version and variant, the
// version, the name and variant, the name, and for every model.
func (b *Book) Find(s Served, t time.Time) (Price, bool) {
	if b.Empty() {
		return Price{}, false
	}
	version := Target{Model: s.Model, Version: s.Version}
	name := Target{Model: s.Model}
	candidates := make([]Target, 0, 8)
	if s.VariantDigest != "" {
		candidates = append(candidates, Target{Digest: s.VariantDigest})
	}
	if s.Digest != "" {
		if s.Variant != "" {
			candidates = append(candidates, Target{Digest: s.Digest, Variant: s.Variant})
		}
		candidates = append(candidates, Target{Digest: s.Digest})
	}
	for _, c := range []Target{version, name, {Model: Every}} {
		if s.Variant != "" {
			c.Variant = s.Variant
			candidates = append(candidates, c)
			c.Variant = ""
		}
		candidates = append(candidates, c)
	}
	for _, c := range candidates {
		if p, ok := b.at(c.Key(), t); ok {
			return p, true
		}
	}
	return Price{}, false
}

// Most returns the most that work of a model may cost at a time: which version will
// answer, a split or an alias decides later. reference is as a request has it:
// `name`, `name@alias`, `name@v3` or `name@sha256:…`.
func (b *Book) Most(reference string, t time.Time) (Rates, bool) {
	var out Rates
	found := false
	add := func(keys []string, fits func(Target) bool) {
		for _, key := range keys {
			p, ok := b.at(key, t)
			if !ok || !fits(p.Target) {
				continue
			}
			if !found {
				out, found = p.Rates, true
				continue
			}
			out = out.Dearest(p.Rates)
		}
	}
	name, rest, _ := strings.Cut(reference, "@")
	only, err := ParseTarget(reference, "")
	versioned := err == nil && only.Version > 0
	add(b.named[name], func(x Target) bool { return !versioned || x.Version == 0 || x.Version == only.Version })
	add(b.digests, func(x Target) bool { return !strings.HasPrefix(rest, digestHead) || x.Digest == rest })
	add(b.named[Every], func(Target) bool { return true })
	return out, found
}

package quantize

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/process"
)

// Offer is what can be made here.
type Offer struct {
	// Types are llama-quantize's names in lower case, sorted.
	Types []string
	// Measures says that perplexity can be measured.
	Measures bool
}

// Offer asks llama-quantize what it can make, one caller at a time. What it answered
// is remembered; that it is not there, or says nothing, is not.
func (m *Maker) Offer(ctx context.Context) (Offer, error) {
	if known, ok := m.Known(); ok {
		return known, nil
	}
	select {
	case m.asking <- struct{}{}:
		defer func() { <-m.asking }()
	case <-ctx.Done():
		return Offer{}, errSilent(context.Cause(ctx))
	}
	if known, ok := m.Known(); ok {
		return known, nil
	}
	path, err := m.parts.Quantize.Path()
	if err != nil {
		return Offer{}, apierr.Wrap(apierr.FailedPrecondition, err, "this worker has no quantiser (llama-quantize)")
	}
	// The outcome does not matter: it prints its help and exits with 1.
	answer, err := process.Ask(ctx, path, "--help")
	switch {
	case errors.Is(err, process.ErrSilent):
		return Offer{}, errSilent(err)
	case err != nil:
		return Offer{}, apierr.Wrap(apierr.FailedPrecondition, err, "this worker's llama-quantize cannot be run")
	}
	types := parseTypes(answer.Text())
	if len(types) == 0 {
		return Offer{}, apierr.New(apierr.FailedPrecondition, "this worker's llama-quantize does not say what it can make")
	}
	_, err = m.parts.Perplexity.Path()
	offer := Offer{Types: types, Measures: err == nil}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offer = &offer
	return offer, nil
}

func errSilent(cause error) error {
	return apierr.Wrap(apierr.Unavailable, cause, "llama-quantize does not say what it can make").WithRetryAfter(busyRetry)
}

// Known returns the offer if it is known already.
func (m *Maker) Known() (Offer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.offer == nil {
		return Offer{}, false
	}
	return *m.offer, true
}

// maxTypes bounds what is believed of a program's help.
const maxTypes = 128

// parseTypes finds the types in the help of llama-quantize, whose lines are
// `  15  or  Q4_K_M  : …`. Second names of others are left out, and so is what is
// refused, or worthless, without an importance matrix: none is made here.
func parseTypes(help string) []string {
	var out []string
	for line := range strings.Lines(help) {
		number, rest, is := strings.Cut(strings.TrimSpace(line), " or ")
		name, what, told := strings.Cut(rest, ":")
		name = strings.ToLower(strings.TrimSpace(name))
		if !is || !told || !isNumber(strings.TrimSpace(number)) || !isType(name) || strings.Contains(what, "alias for") || needsMatrix(name) {
			continue
		}
		if out = append(out, name); len(out) == maxTypes {
			break
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// needsMatrix reports whether a type needs an importance matrix.
func needsMatrix(name string) bool {
	return strings.HasPrefix(name, "iq1_") || strings.HasPrefix(name, "iq2_") || name == "iq3_xxs" || name == "q2_k_s"
}

// isType is the contract's pattern of a type.
func isType(name string) bool {
	const most = 32
	for i, r := range name {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' && i > 0 {
			continue
		}
		return false
	}
	return name != "" && len(name) <= most
}

func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
